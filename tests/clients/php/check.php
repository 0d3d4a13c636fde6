<?php
error_reporting(E_ALL);
set_error_handler(function ($level, $message, $file, $line) {
    if (!(error_reporting() & $level) || $level === E_DEPRECATED) { return false; }
    throw new ErrorException($message, 0, $level, $file, $line);
});
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
function setting(string $name): string { return getenv("FAIRLANE_TEST_$name"); }
function dsn(): string { return 'mysql:host=' . setting('HOST') . ';port=' . setting('PORT') . ';dbname=' . setting('DATABASE') . ';charset=utf8mb4'; }
function same(string $what, $expected, $found): void {
    if ($expected !== $found) {
        echo "FAILED $what\nexpected ", var_export($expected, true), "\nfound    ", var_export($found, true), "\n";
        exit(1);
    }
    echo "ok $what\n";
}
