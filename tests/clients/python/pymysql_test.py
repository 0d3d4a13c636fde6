"""PyMySQL: autocommit off by default, cursors, several results, local files."""

import os
import sys
import tempfile

import pymysql
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
        same("committed", 100, one(reader, "SELECT COUNT(*) FROM py_a"))
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
with connect(cursorclass=pymysql.cursors.SSDictCursor).cursor() as stream:
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
