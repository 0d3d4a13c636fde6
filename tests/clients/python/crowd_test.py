"""Many connections set up as Django does, in turn: reads with autocommit, atomic blocks without."""

import os
import random
import sys
import time

import pymysql

ENV = {name: os.environ["FAIRLANE_TEST_" + name] for name in ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")}


def connect():
    connection = pymysql.connect(
        host=ENV["HOST"], port=int(ENV["PORT"]), user=ENV["USER"], password=ENV["PASSWORD"],
        database=ENV["DATABASE"], charset="utf8mb4")
    with connection.cursor() as cursor:
        cursor.execute("SET SQL_AUTO_IS_NULL = 0")
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("SET sql_mode = 'STRICT_TRANS_TABLES'")
        cursor.execute("SET time_zone = '+00:00'")
    connection.autocommit(True)
    return connection


def run(number, count, seconds):
    table = f"crowd_python_{number}"
    connections = [connect() for _ in range(count)]
    first = connections[0].cursor()
    first.execute(f"DROP TABLE IF EXISTS {table}")
    first.execute(f"CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, visits INT NOT NULL) ENGINE=InnoDB")
    rows = []
    for connection in connections:
        cursor = connection.cursor()
        cursor.execute(f"INSERT INTO {table} (visits) VALUES (0)")
        rows.append([cursor.lastrowid, 0])
    requests, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        which = random.randrange(count)
        connection, row = connections[which], rows[which]
        cursor = connection.cursor()
        cursor.execute(f"SELECT visits FROM {table} WHERE id = %s", (row[0],))
        found = cursor.fetchone()[0]
        if found != row[1]:
            sys.exit(f"FAILED expected {row[1]} visits, found {found}")
        if requests % 4 == 0:
            connection.autocommit(False)
            cursor.execute("SAVEPOINT inner_block")
            cursor.execute(f"UPDATE {table} SET visits = visits + 1 WHERE id = %s", (row[0],))
            cursor.execute("RELEASE SAVEPOINT inner_block")
            connection.commit()
            connection.autocommit(True)
            row[1] += 1
        requests += 1
    first.execute(f"DROP TABLE {table}")
    print(f"ok {requests} requests over {count} connections")


run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
