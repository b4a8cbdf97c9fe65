/**
 * Every command as data: what it is called, takes and answers to, with examples. Help, the
 * parser and `docs/cli.md` (held to it by a test) come from this one table. The code of a command
 * is loaded when it runs, so `openim --help` needs neither libp2p nor a database.
 */
import type { ArgumentSpec, CommandSpec, OptionSpec } from './command-spec.ts'
import { xmpp } from './commands-xmpp.ts'
import { parseDuration } from './units.ts'

/** Understood by every command, before or after its name. */
export const globalOptions: readonly OptionSpec[] = [
  { flags: '--data <dir>', text: 'data directory (default: OPENIM_DATA, else the XDG data directory)' },
  { flags: '--json', text: 'answer in JSON, one value a line' },
  { flags: '--verbose', text: 'show the stack of an error' },
  { flags: '--no-color', text: 'no colours (also: NO_COLOR)' },
]

const contact: ArgumentSpec = { name: '<contact>', text: 'name or address of a contact' }
const file: ArgumentSpec = { name: '<id>', text: 'the id that openim files shows, or its first 4 characters' }
const passphraseFile: OptionSpec = {
  flags: '--passphrase-file <file>',
  text: 'read the passphrase from the first line of a file',
}

const keysPassphraseFile: OptionSpec = {
  flags: '--keys-passphrase-file <file>',
  text: 'the same for the keys in it, where theirs is another one',
}
const newPassphraseFile: OptionSpec = {
  flags: '--new-passphrase-file <file>',
  text: 'read the new one from the first line of a file',
}

function duration(name: string, text: string): OptionSpec {
  return { flags: `${name} <duration>`, text, parse: parseDuration }
}

const logLevels = ['debug', 'info', 'warn', 'error', 'silent']
const databaseOptions: readonly OptionSpec[] = [
  { flags: '--db <url>', text: 'this database (default: as in config.toml, else the embedded one)' },
  { flags: '--db-password-file <file>', text: 'its password: first line of the file' },
  { flags: '--db-password', text: 'ask for its password' },
]
const nodeOptions: readonly OptionSpec[] = [
  { flags: '--p2p-listen <multiaddr>', text: 'listen for other nodes here (repeatable)', repeatable: true },
  { flags: '--tcp-listen <host:port>', text: 'listen for own devices here (default: kept, loopback)' },
  { flags: '--udp-listen <host:port>', text: 'the same over UDP (default: kept, loopback)' },
  { flags: '--ws-listen <host:port>', text: 'the same over WebSocket (default: off)' },
  { flags: '--http2-listen <host:port>', text: 'the same over HTTP/2 (default: off)' },
  { flags: '--bootstrap <multiaddr>', text: 'meet this node first (repeatable)', repeatable: true },
  { flags: '--profile <profile>', text: 'how much to do for others', choices: ['home', 'server', 'relay'] },
  { flags: '--log-level <level>', text: 'log to stderr', choices: logLevels },
  ...databaseOptions,
  passphraseFile,
]

const talking: readonly CommandSpec[] = [
  {
    name: 'invite',
    summary: 'Make an invite for one person',
    examples: [
      ['openim invite', 'show it as QR code and text'],
      ['openim invite --json | jq -r .uri', 'only the text, for a script'],
    ],
    options: [duration('--expires', 'good for so long (default: 7d)')],
    load: () => import('./commands/invite.ts'),
  },
  {
    name: 'add',
    summary: 'Accept an invite',
    examples: [
      ["openim add 'openim:Vn3xk7Q2…'", 'under the name they gave'],
      ["openim add 'openim:Vn3xk7Q2…' --name alice", 'under a name of your own'],
    ],
    args: [{ name: '<uri>', text: 'the invite, openim:… (quote it)' }],
    options: [{ flags: '--name <name>', text: 'call them so' }],
    load: () => import('./commands/add.ts'),
  },
  {
    name: 'contacts',
    summary: 'List, rename or remove contacts',
    examples: [
      ['openim contacts', 'everybody, with how sure you are of their key'],
      ['openim contacts rename alice "Alice B"', 'only you see this name'],
      ['openim contacts remove alice', 'messages stay'],
    ],
    load: () => import('./commands/contacts.ts'),
    commands: [
      {
        name: 'rename',
        summary: 'Give a contact another name',
        examples: [['openim contacts rename alice "Alice B"', '']],
        args: [contact, { name: '<name>', text: 'the new name; only you see it' }],
        load: () => import('./commands/contacts-rename.ts'),
      },
      {
        name: 'remove',
        summary: 'Remove a contact; what was said stays',
        examples: [['openim contacts remove alice', '']],
        args: [contact],
        load: () => import('./commands/contacts-remove.ts'),
      },
    ],
  },
  {
    name: 'verify',
    summary: 'Compare the safety number with a contact',
    examples: [
      ['openim verify alice', 'show it as digits and QR code, and ask'],
      ['openim verify alice --yes', 'you compared it, it is the same'],
      ['openim verify alice --digits theirs.txt', 'compare with what they sent you; exit 5 when it differs'],
      ['openim verify alice --accept', 'go on after an alarm: it was their doing'],
    ],
    args: [{ name: '[contact]', text: 'name or address; without one: alarms about your own account' }],
    options: [
      { flags: '--yes', text: 'the numbers are the same: verified' },
      { flags: '--digits <file>', text: 'what they see: 60 digits or the QR code\'s text; - for stdin' },
      { flags: '--accept', text: 'end an alarm about their key, or yours' },
      { flags: '--unverify', text: 'take it back' },
    ],
    load: () => import('./commands/verify.ts'),
  },
  {
    name: 'send',
    summary: 'Send a message',
    examples: [
      ['openim send alice "see you at 8"', ''],
      ['uptime | openim send alice -', 'the text from stdin'],
      ['openim send alice --file holiday.zip', 'up to 1 GB; goes on by itself after a restart'],
      ['openim send alice hi --wait delivered --timeout 10s --json', 'exit 6 when it takes longer'],
    ],
    args: [contact, { name: '[text]', text: 'the message, or - for stdin' }],
    options: [
      { flags: '--file <path>', text: 'send this file instead of a text' },
      { flags: '--name <name>', text: 'what they see as its name (default: its own)' },
      {
        flags: '--wait <state>',
        text: 'until it is so, else exit 6',
        choices: ['queued', 'stored', 'delivered', 'read'],
      },
      duration('--timeout', 'how long to wait (default: 10s; without --wait 2s)'),
    ],
    load: () => import('./commands/send.ts'),
  },
  {
    name: 'inbox',
    summary: 'Show messages that are new since last time',
    examples: [
      ['openim inbox', 'each message once'],
      ['openim inbox --json --follow', 'for a bot: one object a line, for ever'],
      ['openim inbox --all --from alice', 'again, from the start'],
    ],
    options: [
      { flags: '--follow', text: 'go on as messages arrive' },
      { flags: '--from <contact>', text: 'only from this contact' },
      { flags: '--all', text: 'also what was shown before; does not count as shown' },
      { flags: '--cursor <name>', text: 'reading position to use and move on (default: cli)' },
    ],
    load: () => import('./commands/inbox.ts'),
  },
  {
    name: 'files',
    summary: 'List files sent and offered, or cancel one',
    examples: [
      ['openim files', 'with how far each is'],
      ['openim files cancel 3f2a91bc', 'a file that you sent cannot be fetched any more'],
    ],
    load: () => import('./commands/files.ts'),
    commands: [
      {
        name: 'cancel',
        summary: 'End a transfer',
        examples: [['openim files cancel 3f2a91bc', '']],
        args: [file],
        load: () => import('./commands/files-cancel.ts'),
      },
    ],
  },
  {
    name: 'save',
    summary: 'Fetch a file that was offered',
    examples: [
      ['openim save 3f2a91bc', 'here, under the name it came with'],
      ['openim save 3f2a91bc ~/Downloads/', ''],
    ],
    args: [file, { name: '[path]', text: 'where to; a directory, or the new name' }],
    options: [{ flags: '--force', text: 'replace a file of that name' }],
    load: () => import('./commands/save.ts'),
  },
  {
    name: 'chat',
    summary: 'Talk to a contact, line by line',
    examples: [['openim chat alice', '/help inside; Ctrl-D to leave']],
    args: [contact],
    load: () => import('./commands/chat.ts'),
  },
]

const operating: readonly CommandSpec[] = [
  {
    name: 'status',
    summary: 'Show what the node does',
    examples: [
      ['openim status', ''],
      ['openim status --json | jq .queue.out', 'messages not delivered yet'],
    ],
    load: () => import('./commands/status.ts'),
  },
  {
    name: 'ping',
    summary: 'Ask a contact\'s node whether it is there, and by which way',
    examples: [['openim ping bob', '']],
    args: [{ name: '<contact>', text: 'name or address of a contact, or a node id' }],
    load: () => import('./commands/ping.ts'),
  },
  {
    name: 'peers',
    summary: 'List the nodes this one is linked to',
    examples: [['openim peers', '']],
    load: () => import('./commands/peers.ts'),
  },
  {
    name: 'doctor',
    summary: 'Examine the node, or the way to one contact; exit 8 when something is wrong',
    examples: [
      ['openim doctor', 'the whole node'],
      ['openim doctor carol', 'why does nothing reach carol?'],
    ],
    args: [{ name: '[contact]', text: 'name or address of a contact' }],
    load: () => import('./commands/doctor.ts'),
  },
  {
    name: 'backup',
    summary: 'Save or restore identity, contacts, sessions and messages',
    examples: [
      ['openim backup create alice.openim-backup', 'asks for a passphrase'],
      ['openim backup restore alice.openim-backup --data DIR', 'into an empty directory'],
    ],
    commands: [
      {
        name: 'create',
        summary: 'Write everything to one encrypted file',
        examples: [['openim backup create alice.openim-backup --passphrase-file secret.txt', '']],
        args: [{ name: '<file>', text: 'must not exist yet' }],
        options: [passphraseFile, ...databaseOptions],
        load: () => import('./commands/backup-create.ts'),
      },
      {
        name: 'restore',
        summary: 'Bring a backup back into an empty data directory, as a new device',
        examples: [['openim backup restore alice.openim-backup --data DIR', '']],
        args: [{ name: '<file>', text: 'made by backup create' }],
        options: [passphraseFile, keysPassphraseFile],
        load: () => import('./commands/backup-restore.ts'),
      },
    ],
  },
  {
    name: 'db',
    summary: 'Look after the database, or move to another one',
    examples: [
      ['openim db check', 'reads everything'],
      ['openim db migrate --to postgresql://openim@localhost/openim', 'the node must be stopped'],
    ],
    commands: [
      {
        name: 'export',
        summary: 'Write the whole database to a file (the node must be stopped)',
        examples: [['openim db export node.openim-store', 'any database can be filled from it']],
        args: [{ name: '<file>', text: 'must not exist yet' }],
        options: databaseOptions,
        load: () => import('./commands/db-export.ts'),
      },
      {
        name: 'import',
        summary: 'Fill an empty database from such a file',
        examples: [['openim db import node.openim-store --db redis://localhost', '']],
        args: [{ name: '<file>', text: 'made by db export' }],
        options: databaseOptions,
        load: () => import('./commands/db-import.ts'),
      },
      {
        name: 'check',
        summary: 'Read everything and say what is damaged (the node must be stopped)',
        examples: [['openim db check --json', 'exit 8 when something is damaged']],
        options: databaseOptions,
        load: () => import('./commands/db-check.ts'),
      },
      {
        name: 'repair',
        summary: 'Mend a damaged embedded database on a copy (the node must be stopped)',
        examples: [['openim db repair', 'the damaged one is kept beside it']],
        options: databaseOptions,
        load: () => import('./commands/db-repair.ts'),
      },
      {
        name: 'migrate',
        summary: 'Bring a database to this version, or move to another one',
        examples: [
          ['openim db migrate --to mysql://openim@localhost/openim --to-password-file secret.txt', ''],
        ],
        options: [
          ...databaseOptions,
          { flags: '--to <url>', text: 'fill this empty database with everything' },
          { flags: '--to-password-file <file>', text: 'its password: first line of the file' },
        ],
        load: () => import('./commands/db-migrate.ts'),
      },
    ],
  },
  {
    name: 'link',
    summary: 'Let a new device into your account',
    examples: [
      ['openim link', 'shows a code for the new device, then asks what both screens show'],
      ['openim link --json', 'for a script, which writes the digits of the other screen to stdin'],
    ],
    load: () => import('./commands/link.ts'),
  },
  {
    name: 'devices',
    summary: 'List the devices of your account',
    examples: [
      ['openim devices', 'with when something last came from them'],
      ['openim devices renew', 'after a copy of this one was started elsewhere'],
    ],
    load: () => import('./commands/devices.ts'),
    commands: [
      {
        name: 'renew',
        summary: 'Make a new device of this one (the node must be stopped)',
        examples: [['openim devices renew', 'on the one that you keep; the other one stops']],
        options: [passphraseFile, ...databaseOptions],
        load: () => import('./commands/devices-renew.ts'),
      },
    ],
  },
  {
    name: 'unlink',
    summary: 'Put a device out of your account',
    examples: [['openim unlink laptop', 'a lost one, too: it needs not be there']],
    args: [{ name: '<device>', text: 'its name, its id or the first 4 letters of it: openim devices' }],
    options: [{ flags: '--yes', text: 'without asking' }],
    load: () => import('./commands/unlink.ts'),
  },
  {
    name: 'passphrase',
    summary: 'Seal the keys with a passphrase, change it or take it away',
    examples: [
      ['openim passphrase set', 'asked for at every start from then on'],
      ['openim passphrase change', ''],
    ],
    commands: [
      {
        name: 'set',
        summary: 'Seal keys that lie open (the node must be stopped)',
        examples: [['openim passphrase set --passphrase-file secret.txt', '']],
        options: [passphraseFile],
        load: () => import('./commands/passphrase-set.ts'),
      },
      {
        name: 'change',
        summary: 'Take another passphrase (the node must be stopped)',
        examples: [['openim passphrase change --passphrase-file old.txt --new-passphrase-file new.txt', '']],
        options: [passphraseFile, newPassphraseFile],
        load: () => import('./commands/passphrase-change.ts'),
      },
      {
        name: 'remove',
        summary: 'Leave the keys open on the disk (the node must be stopped)',
        examples: [['openim passphrase remove', '']],
        options: [passphraseFile],
        load: () => import('./commands/passphrase-remove.ts'),
      },
    ],
  },
  xmpp,
  {
    name: 'household',
    summary: 'Several nodes that share a database and serve the same accounts',
    examples: [['openim household invite --to member.keys', '']],
    commands: [
      {
        name: 'invite',
        summary: 'Write the keys for one more process into a sealed file',
        examples: [['openim household invite --to member.keys', 'then there: openim init --household …']],
        options: [
          { flags: '--to <file>', text: 'a file that does not exist yet' },
          passphraseFile,
        ],
        load: () => import('./commands/household-invite.ts'),
      },
    ],
  },
  {
    name: 'version',
    summary: 'Show the version',
    examples: [['openim version', '']],
    load: () => import('./commands/version.ts'),
  },
]

export const commandTable: readonly CommandSpec[] = [
  {
    name: 'init',
    summary: 'Make an identity',
    examples: [
      ['openim init --name alice', ''],
      ['openim init --name alice --passphrase --recovery-file words.txt', 'keys sealed, 24 words in a file'],
      ['openim init --recover words.txt', 'the same identity on a new machine'],
    ],
    options: [
      { flags: '--name <name>', text: 'what contacts see first (default: your login name)' },
      { flags: '--recovery-file <file>', text: 'write the 24 recovery words to a new file' },
      { flags: '--recover <file>', text: 'take the identity of these 24 words' },
      { flags: '--household <file>', text: 'one more process of a household (openim household invite)' },
      { flags: '--passphrase', text: 'seal the keys; asked at every start' },
      passphraseFile,
    ],
    load: () => import('./commands/init.ts'),
  },
  {
    name: 'join',
    summary: 'Make this machine a device of an account that lives on another node',
    examples: [
      ["openim join 'openim-link:EAECAw…'", 'the code that openim link shows there'],
      ["openim join 'openim-link:EAECAw…' --name laptop --node wss://home.example:443", ''],
    ],
    args: [{ name: '<code>', text: 'what openim link shows; - for the first line of stdin' }],
    options: [
      { flags: '--name <name>', text: 'what you call this device (default: your login name)' },
      {
        flags: '--node <address>',
        text: 'where the node is: tcp://HOST:PORT (repeatable)',
        repeatable: true,
      },
      { flags: '--passphrase', text: 'seal the keys; asked at every start' },
      passphraseFile,
      { flags: '--yes', text: 'do not compare here; the other screen is asked all the same' },
    ],
    load: () => import('./commands/join.ts'),
  },
  {
    name: 'start',
    summary: 'Run the node, or the linked device, until Ctrl-C',
    examples: [
      ['openim start', ''],
      ['openim start --p2p-listen /ip4/0.0.0.0/tcp/0 --bootstrap /ip4/203.0.113.9/tcp/4481', ''],
      ['openim start --json', 'one line when it is ready, for scripts'],
    ],
    options: [
      ...nodeOptions,
      { flags: '--first-run', text: 'make an identity if there is none, and show an invite' },
    ],
    load: () => import('./commands/start.ts'),
  },
  ...talking,
  ...operating,
]
