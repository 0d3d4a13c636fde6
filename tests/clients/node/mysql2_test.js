// mysql2: text and binary protocol, a pool, transactions, streams, large values.
const assert = require('node:assert/strict');
const { Readable } = require('node:stream');
const mysql = require('mysql2/promise');
const callbacks = require('mysql2');

const env = (name) => process.env['FAIRLANE_TEST_' + name];
const options = {
  host: env('HOST'), port: Number(env('PORT')), user: env('USER'), password: env('PASSWORD'),
  database: env('DATABASE'), multipleStatements: true,
};
// The info of an OK packet. mysql2 leaves its length before it when the server does not offer
// CLIENT_SESSION_TRACK, which Fairlane does not offer to clients.
const info = (result) => result.info.slice(result.info.search(/[A-Z]/)).trim();
const same = (what, expected, found) => {
  assert.deepEqual(found, expected, what);
  console.log('ok ' + what);
};

const plain = (rows) => rows.map((row) => ({ ...row }));

// Values of many types, in both protocols.
async function types() {
  const db = await mysql.createConnection({
    ...options, supportBigNumbers: true, bigNumberStrings: true, dateStrings: true });
  await db.query('DROP TABLE IF EXISTS node_types');
  await db.query(`CREATE TABLE node_types (a BIGINT, u BIGINT UNSIGNED, p DECIMAL(20,6), d DOUBLE,
    dt DATETIME(6), da DATE, ti TIME, y YEAR, e ENUM('x','y'), bi BIT(9), j JSON, t TEXT, vb VARBINARY(20), nothing INT)`);
  const row = {
    a: '-9223372036854775808', u: '18446744073709551615', p: '12345678901234.567890', d: 0.1,
    dt: '2026-11-24 23:59:59.123456', da: '1000-01-01', ti: '-838:59:59', y: 2155, e: 'y',
    bi: Buffer.from([1, 0xff]), j: { a: [1, null] }, t: "\u{1F600} 'q' \\ \0",
    vb: Buffer.from([0, 0xff, 0x1a]), nothing: null,
  };
  await db.execute(`INSERT INTO node_types VALUES (${Object.keys(row).map(() => '?')})`, 
      Object.values({ ...row, j: JSON.stringify(row.j) }));
  same('types as text', [row], plain((await db.query('SELECT * FROM node_types'))[0]));
  same('types in binary', [row], plain((await db.execute('SELECT * FROM node_types'))[0]));
  const [rows, fields] = await db.execute('SELECT a AS alias, t FROM node_types WHERE 1 = 0');
  same('columns of no rows', [[], 'alias', 'node_types', 'a'], [rows, fields[0].name, fields[0].orgTable, fields[0].orgName]);
  same('rows as arrays', [[1, 'b']], (await db.query({ sql: "SELECT 1, 'b'", rowsAsArray: true }))[0]);
  await db.end();
}

// More statements than a connection keeps (so that some are closed), and one made invalid.
async function prepared() {
  const db = await mysql.createConnection({ ...options, maxPreparedStatements: 8 });
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 30; i++) {
      const [rows] = await db.execute(`SELECT ? + ${i} AS n`, [round]);
      assert.equal(Number(rows[0].n), round + i);
    }
  }
  console.log('ok sixty executions of thirty statements');
  const statement = await db.prepare('SELECT id, ? AS x FROM node_a WHERE id <= ? ORDER BY id');
  for (const x of ['text', 7, null, Buffer.from([1, 2])]) {
    const [rows] = await statement.execute([x, 2]);
    same(`parameter ${x === null ? 'null' : typeof x}`, [x === 7 ? 7 : x, 2], [Buffer.isBuffer(x) ? Buffer.from(rows[1].x) : rows[1].x, rows.length]);
  }
  await db.query('ALTER TABLE node_a ADD COLUMN late INT DEFAULT 3');
  const every = await db.prepare('SELECT * FROM node_a WHERE id = 2');
  same('before the table changed', 3, (await every.execute([]))[0][0].late);
  await db.query('ALTER TABLE node_a DROP COLUMN late');
  same('after the table changed', ['id', 'name', 'data'], Object.keys((await every.execute([]))[0][0]));
  await statement.close();
  await every.close();
  await db.query('DROP PROCEDURE IF EXISTS node_p');
  await db.query('CREATE PROCEDURE node_p(IN a INT) BEGIN SELECT a AS first; SELECT a * 2 AS second, NULL AS n; END');
  const [results] = await db.execute('CALL node_p(?)', [21]);
  same('prepared call', [[{ first: 21 }], [{ second: 42, n: null }]], results.slice(0, 2).map(plain));
  await assert.rejects(db.execute('SELECT nonsense FROM node_a'), { errno: 1054, sqlState: '42S22' });
  await assert.rejects(db.execute('INSERT INTO node_a (id) VALUES (?)', [1]), { errno: 1062, sqlState: '23000' });
  same('usable after errors', 1, (await db.execute('SELECT 1 AS n'))[0][0].n);
  await db.end();
}

// A slow reader, a reader that goes away, and a file sent from memory.
async function streams() {
  const db = callbacks.createConnection({ ...options, infileStreamFactory: () => Readable.from([Buffer.from('9001,one\n'), Buffer.from('9002,two\n')]) });
  const rows = db.query("SELECT a.id, REPEAT('x', 5000) AS fill FROM node_a a, node_a b, node_a c")
    .stream({ highWaterMark: 5 });
  let seen = 0;
  for await (const row of rows) {
    assert.equal(row.fill.length, 5000);
    if (++seen % 1000 === 0) await new Promise((resume) => setTimeout(resume, 30));
  }
  same('slow reader', 8000, seen);
  const [loaded] = await db.promise().query(
    "LOAD DATA LOCAL INFILE 'memory' INTO TABLE node_a FIELDS TERMINATED BY ',' (id, name)");
  same('file from memory', [2, 'Records: 2  Deleted: 0  Skipped: 0  Warnings: 0'], [loaded.affectedRows, info(loaded)]);
  await db.promise().query('DELETE FROM node_a WHERE id > 9000');
  const gone = callbacks.createConnection(options);
  await new Promise((done) => gone.query('SELECT a.id FROM node_a a, node_a b, node_a c, node_a d')
    .on('result', () => { gone.destroy(); done(); }));
  same('after a reader that went away', 20, (await db.promise().query('SELECT COUNT(*) AS n FROM node_a'))[0][0].n);
  await db.promise().end();
}

// Ten connections move stock about; nothing is lost or made.
async function transactions() {
  const pool = mysql.createPool({ ...options, connectionLimit: 10 });
  await pool.query('DROP TABLE IF EXISTS node_stock');
  await pool.query('CREATE TABLE node_stock (id INT PRIMARY KEY, n INT NOT NULL) SELECT id, 100 AS n FROM node_a');
  let retried = 0;
  const move = async (from, to) => {
    for (;;) {
      const db = await pool.getConnection();
      try {
        await db.beginTransaction();
        const [[row]] = await db.execute('SELECT n FROM node_stock WHERE id = ? FOR UPDATE', [from]);
        await db.execute('UPDATE node_stock SET n = ? WHERE id = ?', [row.n - 1, from]);
        await db.query('UPDATE node_stock SET n = n + 1 WHERE id = ?', [to]);
        if ((from + to) % 5 === 0) await db.rollback(); else await db.commit();
        return;
      } catch (error) {
        await db.rollback();
        if (error.errno !== 1213) throw error;
        retried++;
      } finally {
        db.release();
      }
    }
  };
  await Promise.all(Array.from({ length: 300 }, (_, i) => move(1 + i % 20, 1 + (i * 7 + 3) % 20)));
  const [[sum]] = await pool.query('SELECT SUM(n) AS n FROM node_stock FOR UPDATE');
  same('stock is neither lost nor made', 2000, Number(sum.n));
  await pool.end();
}

// Several results with an error among them; flags; session state and its end.
async function diagnostics() {
  const db = await mysql.createConnection({ ...options, flags: ['-FOUND_ROWS'] });
  await assert.rejects(db.query('SELECT 1; SELECT * FROM nowhere; SELECT 3'), { errno: 1146 });
  same('after an error in the middle', 4, (await db.query('SELECT 4 AS n'))[0][0].n);
  same('rows changed', 0, (await db.query('UPDATE node_a SET name = name WHERE id < 4'))[0].affectedRows);
  const found = await mysql.createConnection(options);
  same('rows found', 3, (await found.query('UPDATE node_a SET name = name WHERE id < 4'))[0].affectedRows);
  same('info', 'Rows matched: 3  Changed: 0  Warnings: 0', info((await found.query('UPDATE node_a SET name = name WHERE id < 4'))[0]));
  await db.query("SET sql_mode = ''");
  same('warnings', 1, (await db.query("INSERT INTO node_a (name) VALUES (REPEAT('w', 60))"))[0].warningStatus);
  same('SHOW WARNINGS', 1265, (await db.query('SHOW WARNINGS'))[0][0].Code);
  await db.query('DELETE FROM node_a WHERE id > 20');
  await db.query('SET @kept = 1; CREATE TEMPORARY TABLE node_temporary SELECT 1 AS n');
  same('session state', { v: 1, n: 1 }, { ...(await db.query('SELECT @kept AS v, n FROM node_temporary'))[0][0] });
  await db.changeUser({ user: env('USER'), password: env('PASSWORD'), database: env('DATABASE') });
  same('its end', null, (await db.query('SELECT @kept AS v'))[0][0].v);
  await assert.rejects(db.query('SELECT n FROM node_temporary'), { errno: 1146 });
  await found.query('KILL QUERY ' + db.threadId);
  const sleeping = db.query('SELECT SLEEP(20) AS s').then(([rows]) => rows[0].s, (error) => error.errno);
  await new Promise((resume) => setTimeout(resume, 300));
  await found.query('KILL QUERY ' + db.threadId);
  same('killed in its sleep', true, [1, 1317].includes(await sleeping));
  same('it lives on', 5, (await db.query('SELECT 5 AS n'))[0][0].n);
  await db.end();
  await found.end();
}

// The connection compressed: short contents, and long ones both ways.
async function compressed() {
  const db = await mysql.createConnection({ ...options, compress: true });
  for (const length of [0, 1, 30, 49, 50, 51, 70000, 17 << 20]) {
    const text = 'p'.repeat(length);
    const [[row]] = await db.query(`SELECT '${text}' AS t`);
    same(`compressed, ${length} bytes`, true, row.t === text);
  }
  const [rows] = await db.execute('SELECT seq, ? AS t FROM seq_1_to_5000', ['x'.repeat(200)]);
  same('compressed, many rows', [5000, 5000], [rows.length, rows[4999].seq]);
  await assert.rejects(db.query('SELECT nonsense'), { errno: 1054 });
  await db.changeUser({ database: env('DATABASE') });
  same('compressed, after a change of user', 5, (await db.query('SELECT 5 AS n'))[0][0].n);
  await db.end();
}

async function main() {
  const db = await mysql.createConnection(options);
  await db.query('DROP TABLE IF EXISTS node_a');
  await db.query('CREATE TABLE node_a (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), data LONGBLOB)');
  for (let i = 1; i <= 20; i++) {
    const [inserted] = await db.execute('INSERT INTO node_a (name) VALUES (?)', [`n${i}`]);
    same('insert id', i, inserted.insertId);
    const [rows] = await db.execute('SELECT name FROM node_a WHERE id = ?', [i]);
    same('own write', `n${i}`, rows[0].name);
  }
  const [several] = await db.query('SELECT 1 AS a; SELECT 2 AS b');
  same('several statements', [[{ a: 1 }], [{ b: 2 }]], several.map((rows) => rows.map((row) => ({ ...row }))));
  await db.beginTransaction();
  await db.execute('DELETE FROM node_a');
  await db.rollback();
  same('rolled back', 20, (await db.query('SELECT COUNT(*) AS n FROM node_a'))[0][0].n);
  const blob = Buffer.alloc(17 * 1024 * 1024, 0x27);
  await db.query('UPDATE node_a SET data = ? WHERE id = 1', [blob]);
  same('over 16 MiB', true, blob.equals((await db.query('SELECT data FROM node_a WHERE id = 1'))[0][0].data));
  await db.changeUser({ database: env('DATABASE') });
  same('change of user', 20, (await db.query('SELECT COUNT(*) AS n FROM node_a'))[0][0].n);
  await assert.rejects(db.query('SELECT * FROM nowhere'), { errno: 1146 });
  await db.ping();
  await db.end();

  const pool = mysql.createPool({ ...options, connectionLimit: 10 });
  const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => pool.execute('SELECT ? + 0 AS n', [i])));
  same('a pool of ten', Array.from({ length: 300 }, (_, i) => i), answers.map(([rows]) => Number(rows[0].n)));
  await pool.end();

  const stream = callbacks.createConnection(options);
  let seen = 0;
  await new Promise((done, failed) => stream.query('SELECT id FROM node_a').stream()
    .on('data', () => seen++).on('end', done).on('error', failed));
  same('streamed', 20, seen);
  stream.end();
  await assert.rejects(mysql.createConnection({ ...options, password: 'wrong' }), { errno: 1045 });
  console.log('ok wrong password');
  await types();
  await prepared();
  await streams();
  await transactions();
  await diagnostics();
  await compressed();
}

main().catch((error) => { console.error('FAILED', error); process.exit(1); });
