"""PyMySQL: autocommit off by default, cursors, several results, local files."""

import datetime
import decimal
import os
import sys
import tempfile
import threading
import time

import pymysql
import pymysql.constants.CLIENT
import pymysql.cursors

ENV = {name: os.environ["FAIRLANE_TEST_" + name] for name in ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")}


def connect(**more):
    return pymysql.connect(
        host=ENV["HOST"], port=int(ENV["PORT"]), user=ENV["USER"], password=ENV["PASSWORD"],
        database=ENV["DATABASE"], charset="utf8mb4", local_infile=True, **more)


def same(what, expected, found):
    if expected != found:
        print(f"FAILED {what}\nexpected {expected!r}\nfound    {found!r}")
        sys.exit(1)
    print("ok", what)


def wait(what, condition):
    """For what another session did: a replica may be a moment behind it."""
    deadline = time.monotonic() + 10
    while not (seen := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    same(what, True, seen)


def one(cursor, sql, arguments=None):
    cursor.execute(sql, arguments)
    return cursor.fetchone()[0]


db = connect()
with db.cursor() as cursor:
    cursor.execute("DROP TABLE IF EXISTS py_a")
    cursor.execute("CREATE TABLE py_a (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), data LONGBLOB)")
    for number in range(20):
        cursor.execute("INSERT INTO py_a (name) VALUES (%s)", (f"näme {number}",))
        same("insert id", number + 1, cursor.lastrowid)
        same("own write", f"näme {number}", one(cursor, "SELECT name FROM py_a WHERE id = %s", (number + 1,)))
    db.rollback()
    same("rolled back", 0, one(cursor, "SELECT COUNT(*) FROM py_a"))
    same("many", 100, cursor.executemany("INSERT INTO py_a (name) VALUES (%s)", [(f"n{i}",) for i in range(100)]))
    db.commit()
    other = connect(autocommit=True)
    with other.cursor() as reader:
        wait("committed", lambda: one(reader, "SELECT COUNT(*) FROM py_a") == 100)
    cursor.execute("DROP PROCEDURE IF EXISTS py_p")
    cursor.execute("CREATE PROCEDURE py_p(IN a INT, OUT b INT) BEGIN SET b = a * 2; SELECT a; SELECT b; END")
    cursor.callproc("py_p", (21, 0))
    same("first result", ((21,),), cursor.fetchall())
    same("another result", True, cursor.nextset())
    same("second result", ((42,),), cursor.fetchall())
    while cursor.nextset():
        pass
    same("out parameter", 42, one(cursor, "SELECT @_py_p_1"))
    blob = bytes(range(256)) * 80_000
    cursor.execute("UPDATE py_a SET data = %s ORDER BY id LIMIT 1", (blob,))
    same("over 16 MiB", blob, one(cursor, "SELECT data FROM py_a WHERE data IS NOT NULL"))
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("5001,one\n5002,two\n")
        file.flush()
        same("local file", 2, cursor.execute(
            f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE py_a FIELDS TERMINATED BY ',' (id, name)"))
    db.commit()
    try:
        cursor.execute("SELECT * FROM nowhere")
        same("no such table", "an exception", "none")
    except pymysql.err.ProgrammingError as error:
        same("no such table", 1146, error.args[0])
reader = connect(cursorclass=pymysql.cursors.SSDictCursor)
wait("visible to others", lambda: one(connect().cursor(), "SELECT COUNT(*) FROM py_a") == 102)
with reader.cursor() as stream:
    stream.execute("SELECT id, name FROM py_a ORDER BY id")
    same("streamed", 102, sum(1 for row in stream if row["name"]))
db.ping(reconnect=False)
db.select_db(ENV["DATABASE"])
same("after select_db", ENV["DATABASE"], one(db.cursor(), "SELECT DATABASE()"))
try:
    pymysql.connect(host=ENV["HOST"], port=int(ENV["PORT"]), user=ENV["USER"], password="wrong")
    same("wrong password", "an exception", "none")
except pymysql.err.OperationalError as error:
    same("wrong password", 1045, error.args[0])

# Values of many types there and back.
db = connect(cursorclass=pymysql.cursors.DictCursor, init_command="SET time_zone = '+00:00'")
cursor = db.cursor()
cursor.execute("DROP TABLE IF EXISTS py_types")
cursor.execute(
    "CREATE TABLE py_types (a BIGINT, u BIGINT UNSIGNED, p DECIMAL(20,6), d DOUBLE, dt DATETIME(6), "
    "da DATE, ti TIME(6), t TEXT, vb VARBINARY(20), bi BIT(9), nothing INT)")
row = {
    "a": -(2**63), "u": 2**64 - 1, "p": decimal.Decimal("12345678901234.567890"), "d": 0.1,
    "dt": datetime.datetime(2026, 11, 24, 23, 59, 59, 123456), "da": datetime.date(1000, 1, 1),
    "ti": datetime.timedelta(hours=838, minutes=59, seconds=1), "t": "\U0001f600 'q' \\ \n\0",
    "vb": b"\x00\xff\x1a'\\", "bi": b"\x01\xff", "nothing": None,
}
cursor.execute(
    f"INSERT INTO py_types ({', '.join(row)}) VALUES ({', '.join(f'%({name})s' for name in row)})", row)
cursor.execute("SELECT * FROM py_types")
same("types", [row], list(cursor.fetchall()))
same("columns", list(row), [column[0] for column in cursor.description])
db.commit()
same("time zone", "+00:00", one(connect(init_command="SET time_zone = '+00:00'").cursor(), "SELECT @@time_zone"))

# autocommit: visible to others only after the commit, and switched in one session.
other = connect(autocommit=True).cursor()
cursor.execute("DELETE FROM py_types")
wait("not committed yet", lambda: one(other, "SELECT COUNT(*) FROM py_types") == 1)
db.rollback()
db.autocommit(True)
same("autocommit is on", True, db.get_autocommit())
cursor.execute("UPDATE py_types SET nothing = 1")
wait("committed at once", lambda: one(other, "SELECT nothing FROM py_types") == 1)
db.begin()
cursor.execute("UPDATE py_types SET nothing = 2")
cursor.execute("SELECT nothing FROM py_types")
same("own write in a transaction", {"nothing": 2}, cursor.fetchone())
db.rollback()
cursor.execute("SELECT nothing FROM py_types")
same("rolled back again", {"nothing": 1}, cursor.fetchone())

# A streamed result left in the middle; large executemany; what a duplicate does.
stream = connect()
with stream.cursor(pymysql.cursors.SSCursor) as unread:
    unread.execute("SELECT a.id FROM py_a a, py_a b, py_a c LIMIT 200000")
    same("first row", 1, len(unread.fetchone()))
same("after a result left in the middle", 5, one(stream.cursor(), "SELECT 5"))
plain = connect(autocommit=True)
cursor = plain.cursor()
cursor.execute("DROP TABLE IF EXISTS py_many")
cursor.execute("CREATE TABLE py_many (id INT PRIMARY KEY, name VARCHAR(100))")
same("a large executemany", 50_000, cursor.executemany(
    "INSERT INTO py_many VALUES (%s, %s)", [(i, "x" * 50) for i in range(50_000)]))
same("all of it", (50_000, 49_999), (one(cursor, "SELECT COUNT(*) FROM py_many"), one(cursor, "SELECT MAX(id) FROM py_many")))
same("REPLACE counts twice", 4, cursor.executemany("REPLACE INTO py_many VALUES (%s, %s)", [(1, "a"), (2, "b")]))
try:
    cursor.execute("INSERT INTO py_many VALUES (1, 'again')")
    same("duplicate", "an exception", "none")
except pymysql.err.IntegrityError as error:
    same("duplicate", 1062, error.args[0])
same("usable after it", 50_000, one(cursor, "SELECT COUNT(*) FROM py_many"))

# Warnings, several statements in one text, flags, ids, killing.
cursor.execute("SET sql_mode = ''")
cursor.execute("INSERT INTO py_many VALUES (-1, %s)", ("y" * 200,))
same("warning", 1265, plain.show_warnings()[0][1])
several = connect(client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS | pymysql.constants.CLIENT.FOUND_ROWS)
cursor = several.cursor()
cursor.execute("SELECT 1; UPDATE py_many SET name = name WHERE id < 3; SELECT 2, 3")
results = [cursor.fetchall()]
while cursor.nextset():
    results.append(cursor.fetchall() if cursor.description else cursor.rowcount)
same("several statements", [((1,),), 4, ((2, 3),)], results)
several.rollback()
same("thread id", several.thread_id(), one(several.cursor(), "SELECT CONNECTION_ID()"))
several.kill(plain.thread_id())
try:
    one(plain.cursor(), "SELECT 1")
    same("killed", "an exception", "none")
except pymysql.err.OperationalError as error:
    same("killed", True, error.args[0] in (1927, 2006, 2013))
for charset in ("latin1", "utf8mb4"):
    link = pymysql.connect(
        host=ENV["HOST"], port=int(ENV["PORT"]), user=ENV["USER"], password=ENV["PASSWORD"],
        database=ENV["DATABASE"], charset=charset)
    same(f"character set {charset}", "ü", one(link.cursor(), "SELECT _utf8mb4 x'C3BC'"))
    link.close()
threads = [threading.Thread(target=lambda n=n: answers.append((n, one(connect().cursor(), f"SELECT {n} + SLEEP(0.01)"))))
           for n in range(40)]
answers = []
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
same("forty connections at once", [(n, n) for n in range(40)], sorted(answers))
db.close()
