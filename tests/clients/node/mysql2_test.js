// mysql2: text and binary protocol, a pool, transactions, streams, large values.
const assert = require('node:assert/strict');
const mysql = require('mysql2/promise');
const callbacks = require('mysql2');

const env = (name) => process.env['FAIRLANE_TEST_' + name];
const options = {
  host: env('HOST'), port: Number(env('PORT')), user: env('USER'), password: env('PASSWORD'),
  database: env('DATABASE'), multipleStatements: true,
};
const same = (what, expected, found) => {
  assert.deepEqual(found, expected, what);
  console.log('ok ' + what);
};

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
}

main().catch((error) => { console.error('FAILED', error); process.exit(1); });
