/**
 * What goes wrong with disks, databases and clocks, and the tests that stand for it on each
 * database. ✓ a test of its own · S the suite of the port, which all of them pass · – not there to
 * go wrong · ! not tested, and why stands below.
 *
 * | | fault | level | PostgreSQL | MariaDB | Redis |
 * |---|---|---|---|---|---|
 * | 1 | kill −9 of the process during group commit | ✓ | ✓ | ✓ | ✓ |
 * | 2 | kill −9 of the server under its writers | – | ✓ | ✓ | ✓ |
 * | 3 | power cut: only what was synced is left | ✓ | ! | ! | ! |
 * | 4 | syncs of 5 and 50 ms | ✓ | ✓ | ✓ | ✓ |
 * | 5 | full disk | ✓ | ✓ | ✓ | ✓ |
 * | 6 | server restarted, frozen, away, slow | – | ✓ | ✓ | ✓ |
 * | 7 | pool used up, deadlock, packet too large, longest key | – | ✓ | ✓ | S |
 * | 8 | two processes race: quota, duplicate, expiry, migration | ✓ | ✓ | ✓ | ✓ |
 * | 9 | duplicate, tombstone, body that is not its id | S | S | S | S |
 * | 10 | flood of one mailbox, pages by count and bytes | ✓ | ✓ | ✓ | ✓ |
 * | 11 | clock a day or ten years off | ✓ | ✓ | ✓ | ✓ |
 * | 12 | reading and expiring while others write | ✓ | S | S | S |
 * | 13 | damaged bodies and records | ✓ | ✓ | ✓ | ✓ |
 * | 14 | parts of the database gone | ✓ | ✓ | ✓ | ✓ |
 * | 15 | settings under which it may lose mail | – | ✓ | ✓ | ✓ |
 * | 16 | written by a newer openIM, or opened twice | ✓ | ✓ | ✓ | ✓ |
 * | 17 | moved to any other database | ✓ | ✓ | ✓ | ✓ |
 * | 18 | TLS of a strange authority, for another host, or none | – | ✓ | ✓ | ✓ |
 *
 * 3 is cut files back to what was synced, which fits files that only grow. Servers write within
 * files that they made long before; that they sync before they answer is held by 4, and what they
 * do with it at the next start by 2. 11 is one guard above all databases (PurgeClock), tried on
 * two. 12 with 10⁶ messages is a benchmark, `npm run -s bench -- storage`.
 *
 * faults-table.test.ts holds that every name below is a test.
 */

export const backends = ['level', 'PostgreSQL', 'MariaDB', 'Redis'] as const
export type Backend = (typeof backends)[number]

/** Files from test/, without `.test.ts`, and the names of their tests. */
export type Tests = Readonly<Record<string, readonly string[]>>

export interface Fault {
  readonly number: number
  /** A database that is missing has no such fault, or is the reason for a `!` above. */
  readonly on: Readonly<Partial<Record<Backend, Tests>>>
}

const storage = (tests: Tests): Tests =>
  Object.fromEntries(Object.entries(tests).map(([file, names]) => [`node/storage/${file}`, names]))
const onAll = (tests: Tests): Fault['on'] => Object.fromEntries(backends.map((name) => [name, tests]))
const onServers = (sql: Tests, redis: Tests): Fault['on'] =>
  ({ PostgreSQL: storage(sql), MariaDB: storage(sql), Redis: storage(redis) })

export const faults: readonly Fault[] = [
  {
    number: 1,
    on: {
      level: storage({ 'level-kill': ['loses nothing it said was durable when it is killed three times'] }),
      ...onServers(
        { 'sql-faults': ['loses nothing it said was durable when its process is killed three times'] },
        { 'redis-faults': ['loses nothing it said was stored when its own process is killed three times'] },
      ),
    },
  },
  {
    number: 2,
    on: onServers(
      { 'sql-faults': ['loses and doubles nothing when the server is killed three times under its writers'] },
      { 'redis-faults': ['loses nothing it said was stored when the server is killed in the middle of it'] },
    ),
  },
  {
    number: 3,
    on: {
      level: storage({
        'level-power': [
          'loses nothing it said was durable, and opens whole, when the power fails five times',
          'the same power cut takes what a store that does not sync said it had',
        ],
        'disk-pieces': ['cuts off what a power cut left at the end, wherever it was torn'],
      }),
    },
  },
  {
    number: 4,
    on: onAll(storage({
      'slow-sync': [
        'answers after a sync, shares syncs, keeps nobody waiting for many: at 5 and at 50 ms',
        'keeps no more in memory than it may while each sync takes 50 ms, and tells the others',
      ],
    })),
  },
  {
    number: 5,
    on: {
      level: storage({
        'level-full': [
          'refuses new mail while the disk is nearly full, and goes on by itself',
          'bears somebody else filling the disk to its last byte',
          'settles everything, and comes back, when even the ballast did not help',
          'opens on a disk that is full, with the room of its ballast',
          'says so when the first start finds no room',
        ],
      }),
      ...onServers(
        { 'shared-full': ['refuses new mail on a full disk, loses nothing, and goes on when there is room'] },
        {
          'shared-full': ['refuses new mail on a full disk, loses nothing, and goes on when there is room'],
          'redis-faults': [
            'refuses what needs room at the memory limit, still deletes, and goes on with more',
          ],
        },
      ),
    },
  },
  {
    number: 6,
    on: onServers(
      {
        'sql-faults': [
          'refuses writes and reads in time while the server is away, and goes on afterwards',
          'takes no more into its queue than it may while the server is away',
          'notices a server that froze, and knows afterwards what became of the write',
          'looks up whether a group was written when the connection broke during its commit',
        ],
      },
      {
        'redis-faults': [
          'refuses while the server is frozen, and comes back when it thaws',
          'bounds what waits in memory for a server that is slow',
          'refuses while the server is a replica or busy, and comes back by itself',
        ],
        'redis-store': ['waits for a server that is loading, and is away for that time'],
      },
    ),
  },
  {
    number: 7,
    on: {
      ...onServers({
        'sql-faults': [
          'does a group again that the database gave up in a deadlock',
          'refuses readers in time while all connections are in use, and still writes',
          'takes the largest record and much large mail at once, whatever one packet may hold',
        ],
      }, {}),
      Redis: { 'compliance/kv-suite': ['takes empty and largest values, and the longest keys'] },
    },
  },
  {
    number: 8,
    on: {
      level: storage({
        'level-store': ['refuses a second store on a directory until the first closed, and says why'],
      }),
      ...onServers(
        {
          'sql-races': [
            'holds a quota exactly under 200 puts from two sides',
            'holds quota and write-once exactly between two processes',
            'gives one stored and one duplicate to the same item from two sides',
            'counts each item once when expiry and acknowledgements race',
            'makes its tables once when six open an empty database at once',
          ],
        },
        {
          'redis-faults': ['holds quota, duplicates and counts exactly when processes race'],
          'redis-store': [
            'migrates in steps, by several at once, and shuts out who knows only the old layout',
            'two that open an empty database at once share it',
          ],
        },
      ),
    },
  },
  {
    number: 9,
    on: onAll({
      'compliance/mailbox-suite': [
        'stores an id once, within one put and over several',
        'answers a put after the acknowledgement, also of an id it never had',
        'treats an id that is not the hash of its body as a bug',
        'takes an empty body and the largest one, and treats a larger one as a bug',
      ],
    }),
  },
  {
    number: 10,
    on: onAll({
      ...storage({
        flood: ['a flood of one mailbox is refused beyond its quota and costs others no more than any other'],
      }),
      'compliance/mailbox-suite': ['pages by bytes, but always gives at least one'],
    }),
  },
  {
    number: 11,
    on: onAll({
      'node/messenger/purge-clock': [
        'deletes nothing that is alive when the clock jumps a day or ten years: memory',
        'deletes nothing that is alive when the clock jumps a day or ten years: level',
        'remembers over a restart what it saw',
      ],
      'compliance/mailbox-suite': ['takes times far away'],
      'compliance/mailbox-expiry-suite': ['expires what is put after the clock jumped back'],
    }),
  },
  {
    number: 12,
    on: {
      ...onAll({
        'compliance/mailbox-expiry-suite': [
          'expires while others put and acknowledge, and counts stay true',
          'keeps to its budget and gets through with it',
        ],
        'compliance/mailbox-digest-suite': ['goes on while others put and acknowledge'],
      }),
    },
  },
  {
    number: 13,
    on: {
      level: storage({
        'level-faults': [
          '64 bytes flipped in the middle of a table',
          'drops, counts and reports a body that is damaged, and takes it again',
          'a damaged record is refused by name, never dropped, healed by writing it',
          'survives damaged index rows, and loses at most their items',
        ],
        'disk-pieces': ['leaves out a piece whose bytes changed, says so once, and takes it again'],
      }),
      ...onServers(
        { 'sql-faults': ['never hands out a damaged body, and takes the mail again'] },
        {
          'redis-store': [
            'drops a body that is damaged or gone, and takes it again',
            'gets on past a page that is damaged wholly',
            'never returns a damaged record, until it is written anew',
          ],
        },
      ),
    },
  },
  {
    number: 14,
    on: {
      level: storage({
        'level-faults': [
          'a table with a damaged footer', 'all tables but one gone', 'CURRENT gone', 'CURRENT empty',
          'MANIFEST gone', 'MANIFEST damaged', 'the log cut in half', 'says that a part of the log was lost',
          'finishes a repair that was cut off before its last step',
        ],
      }),
      ...onServers(
        {
          'sql-damage': [
            'shows the rest when rows of mail are gone, and takes them again',
            'refuses a database that has lost its version, or goes on with all that is in it',
            'fails when a table is gone, and never shows an empty box in its place',
          ],
        },
        { 'redis-store': ['does not take an empty server for the one that it had'] },
      ),
    },
  },
  {
    number: 15,
    on: onServers(
      { 'sql-faults': ['says when the database may lose what it says is stored'] },
      {
        'redis-store': [
          'refuses settings under which mail may be lost, and names them',
          'notices at the next connection that the settings have changed',
        ],
      },
    ),
  },
  {
    number: 16,
    on: {
      level: storage({
        'level-store': [
          'refuses a store of a newer openIM and leaves it as it is',
          'refuses a second store on a directory until the first closed, and says why',
        ],
      }),
      ...onServers(
        { 'sql-faults': ['refuses a database of a newer openIM, and changes nothing in it'] },
        {
          'redis-store': [
            'refuses a database that a newer openIM wrote, also when that happens meanwhile',
          ],
        },
      ),
    },
  },
  {
    number: 17,
    on: onAll({
      'node/store-moves': ['an archive of each database fills each other one, with equal digests'],
    }),
  },
  {
    number: 18,
    on: onServers(
      {
        'sql-tls': [
          'works with the authority that was named, refuses every other one',
          'refuses a certificate of the right authority for another host',
          'refuses a server that speaks no TLS where TLS is wanted',
        ],
      },
      { 'redis-store': ['talks TLS, and only to whom the certificate names'] },
    ),
  },
]
