// MariaDB's own connector: bulk execution, cached metadata, pipelined statements.
const assert = require('node:assert/strict');
const mariadb = require('mariadb');

const env = (name) => process.env['FAIRLANE_TEST_' + name];
const options = {
  host: env('HOST'), port: Number(env('PORT')), user: env('USER'), password: env('PASSWORD'),
  database: env('DATABASE'), allowPublicKeyRetrieval: true,
};
const same = (what, expected, found) => {
  assert.deepEqual(found, expected, what);
  console.log('ok ' + what);
};
// A batch answers in one or for each row, by what it was sent as.
const affected = (result) => [result].flat().reduce((sum, one) => sum + one.affectedRows, 0);
const plain = (rows) => [...rows].map((row) => ({ ...row }));

// Arrays of parameters, in one packet and in several, good and bad.
async function bulk(db) {
  await db.query('DROP TABLE IF EXISTS maria_bulk');
  await db.query(`CREATE TABLE maria_bulk (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE,
    data LONGBLOB, moment DATETIME(6), n DECIMAL(20,5) DEFAULT 7)`);
  const insert = 'INSERT INTO maria_bulk (name, data, moment, n) VALUES (?, ?, ?, ?)';
  const moment = new Date('2026-11-28T01:02:03.456Z');
  let result = await db.batch(insert, [
    ['one', Buffer.from([0, 0xff]), moment, 1.5], ['two', null, null, null], ['three', Buffer.alloc(0), moment, 3]]);
  same('rows of a batch', 3, affected(result));
  const rows = plain(await db.query('SELECT name, HEX(data) AS h, n FROM maria_bulk ORDER BY id'));
  same('what it wrote', [{ name: 'one', h: '00FF', n: '1.50000' }, { name: 'two', h: null, n: null },
    { name: 'three', h: '', n: '3.00000' }], rows);
  const many = Array.from({ length: 20000 }, (_, i) => [`row ${i}`, Buffer.alloc(100, i % 256), null, i]);
  result = await db.batch(insert, many);
  same('a large batch', 20000, affected(result));
  const big = Array.from({ length: 9 }, (_, i) => [`big ${i}`, Buffer.alloc(3000000, 65 + i), null, i]);
  await db.batch(insert, big);
  same('a batch over 16 MiB', [{ n: 20012n, bytes: '29000002' }], plain(await db.query(
    'SELECT COUNT(*) AS n, SUM(LENGTH(data)) AS bytes FROM maria_bulk')));
  result = await db.batch('UPDATE maria_bulk SET n = ? WHERE name = ?', [[-1, 'one'], [-2, 'two']]);
  same('a batch of updates', 2, affected(result));
  await assert.rejects(db.batch(insert, [['new', null, null, 1], ['one', null, null, 1]]), { errno: 1062 });
  await db.beginTransaction();
  await db.batch('DELETE FROM maria_bulk WHERE name = ?', [['one'], ['two'], ['three']]);
  await db.rollback();
  same('a batch rolled back', 3n, (await db.query(
    "SELECT COUNT(*) AS n FROM maria_bulk WHERE name IN ('one', 'two', 'three')"))[0].n);
}

// Statements whose columns the client keeps, while another session changes the table.
async function metadata(db) {
  const other = await mariadb.createConnection(options);
  await db.query('CREATE OR REPLACE TABLE maria_meta (a INT)');
  await db.query('INSERT INTO maria_meta VALUES (5)');
  const select = 'SELECT * FROM maria_meta';
  for (const [change, expected] of [
    ['DO 0', [{ a: 5 }]],
    ['ALTER TABLE maria_meta MODIFY a VARCHAR(9)', [{ a: '5' }]],
    ['ALTER TABLE maria_meta ADD b DATE DEFAULT "2026-11-28"', [{ a: '5', b: '2026-11-28' }]],
    ['ALTER TABLE maria_meta MODIFY b BIGINT, DROP a', [{ b: 20261128n }]],
  ]) {
    await other.query(change);
    for (let round = 0; round < 3; round++) {
      for (const client of [db, other]) {
        const rows = plain(await client.execute({ sql: select, dateStrings: true }));
        assert.deepEqual(rows, expected, `${change}, round ${round}`);
      }
    }
    console.log('ok cached metadata after ' + change);
  }
  for (const value of [1, 'x', null, 1.5, Buffer.from([0]), 1]) {
    const [row] = await db.execute('SELECT ? AS v', [value]);
    assert.deepEqual(String(row.v), String(value));
  }
  console.log('ok a column of changing types');
  await other.end();
}

// Commands sent before the answers to those in front of them.
async function pipelines(db) {
  const all = [];
  for (let i = 0; i < 200; i++) {
    all.push(db.execute('SELECT ? + 1 AS n', [i]), db.query(`SELECT ${i} AS n`));
  }
  const found = (await Promise.all(all)).map((rows) => Number(rows[0].n));
  same('pipelined statements', Array.from({ length: 400 }, (_, i) => (i >> 1) + (1 - i % 2)), found);
}

// A pool that resets its connections.
async function pooled() {
  const pool = mariadb.createPool({ ...options, connectionLimit: 5, resetAfterUse: true });
  const one = async (i) => {
    const db = await pool.getConnection();
    try {
      await db.batch('INSERT INTO maria_bulk (name) VALUES (?)', [[`p${i}`], [`q${i}`]]);
      const [row] = await db.execute('SELECT COUNT(*) AS n FROM maria_bulk WHERE name IN (?, ?)', [`p${i}`, `q${i}`]);
      return Number(row.n);
    } finally {
      await db.release();
    }
  };
  same('a pool', Array(100).fill(2), await Promise.all(Array.from({ length: 100 }, (_, i) => one(i))));
  await pool.end();
}

(async () => {
  const db = await mariadb.createConnection({ ...options, maxAllowedPacket: 64 << 20 });
  await bulk(db);
  await metadata(db);
  await pipelines(db);
  await pooled();
  await db.query('DROP TABLE maria_bulk, maria_meta');
  await db.end();
})().catch((error) => {
  console.error('FAILED', error);
  process.exit(1);
});
