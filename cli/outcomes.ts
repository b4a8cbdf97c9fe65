/**
 * What becomes of an error at the end of a command: the exit code, and one line that says what to
 * do. A code that has no line here goes by whose doing it is (protocol/errors.ts).
 */
import { errorCode } from '../crypto/errors.ts'
import { errorTable } from '../protocol/errors.ts'
import type { Blame } from '../protocol/errors.ts'
import { exits } from './exits.ts'

export interface Outcome {
  readonly exit: number
  /** What to do; `{openim}` stands for how the program is called here, `{command}` for the command. */
  readonly hint: string
}

const toHelp = 'See {openim} {command}--help'
const toInvite = 'The one who invites makes a new one with: {openim} invite'
const toDoctor = 'See {openim} doctor'
const toOtherDir = 'or name another directory with --data DIR'
const toRestore = 'Put the newest backup back: {openim} backup restore FILE --data NEW_DIR'

const keyHint = 'Ask them in person, then: {openim} verify CONTACT, or --accept if it was their doing'

const usage = (hint: string): Outcome => ({ exit: exits.usage, hint })
const unavailable = (hint: string): Outcome => ({ exit: exits.unavailable, hint })

const byCode: Readonly<Record<string, Outcome>> = {
  USAGE_NO_TERMINAL: usage('Give it with --passphrase-file FILE, or run this in a terminal'),
  USAGE_FILE: usage('Check the path and its permissions'),
  USAGE_EXISTS: usage('Name a file that does not exist yet: nothing is ever overwritten'),
  IDENTITY_EXISTS: usage(`Start it with {openim} start, ${toOtherDir}`),
  CONFIG_SYNTAX: usage('Correct that line; every key may also be left out'),
  CONFIG_KEY_UNKNOWN: usage('Correct or delete that line; docs/operate.md lists every setting'),
  CONFIG_SIZE: usage('Move it away: that is no config.toml'),
  CONFIG_TLS: usage('Correct the two files, who may read them, or the setting that names them'),
  CONFIG_VALUE: usage('Correct or delete that setting; docs/operate.md lists them all'),
  KEYS_SEALED: usage('Give it with --passphrase-file FILE, or run this in a terminal'),
  KEYS_PASSPHRASE: usage('Try again; without it only the recovery phrase or a backup helps'),
  ACCOUNT_CLONED: unavailable('Stop the other one for good, then here: {openim} devices renew'),
  ACCOUNT_RETIRED: unavailable('Use the other one; a backup of what is here can still be made'),
  ACCOUNT_LINKED: usage('Do it where the account was made: {openim} devices says which one has the root key'),
  DEVICE_REVOKED: unavailable('What is here can still be read; to go on: {openim} join CODE --data NEW_DIR'),
  DEVICE_UNKNOWN: { exit: exits.unknown, hint: 'List them with: {openim} devices' },
  HOME_FILE: usage('Correct home.json in the data directory; docs/operate.md shows one'),
  DOOR_ADDRESS: usage('openim link lists the addresses of the node'),
  LINK_CODE_FORM: usage("Paste the whole line, in quotes: {openim} join 'openim-link:…'"),
  LINK_CODE_VERSION: usage('Update openIM on this machine'),
  LINK_CODE_OVER: usage('Make a new one with: {openim} link'),
  LINK_DIFFERENT: {
    exit: exits.untrusted,
    hint: 'Somebody may stand between: begin anew with {openim} link, and nobody watching',
  },
  LINK_UNREACHABLE: unavailable('Give another address of the node with --node; {openim} link lists them'),
  PASSPHRASE_SET: usage('Take another one with: {openim} passphrase change'),
  PASSPHRASE_NONE: usage('Set one with: {openim} passphrase set'),
  BACKUP_PASSPHRASE: usage('Try again; without its passphrase nobody can open a backup'),
  INVITE_EXPIRED: usage(toInvite),
  INVITE_USED: usage(toInvite),
  INVITE_FORMAT: usage("Paste the whole line, in quotes: {openim} add 'openim:…'"),
  INVITE_CHECKSUM: usage("Paste the whole line, in quotes: {openim} add 'openim:…'"),
  INVITE_VERSION: usage('Update openIM, or ask for an invite of an older one'),
  CONTACT_SELF: usage('They type {openim} add and the invite'),
  TEXT_TOO_LONG: usage('Send it in parts'),
  FILE_TOO_LARGE: usage('Send it in parts'),
  FILE_PATH: usage('Check the path'),
  FILE_KIND: usage('Pack a directory first, or name a file'),
  FILE_ACCESS: usage('Check its permissions: the node runs as its own user'),
  FILE_EXISTS: usage('Name another place, or replace it with --force'),

  NODE_NOT_RUNNING: unavailable('Start it with: {openim} start'),
  NODE_STOPPED: unavailable('Start it again with: {openim} start'),
  DATA_DIR_IN_USE: unavailable(`Stop that one first, ${toOtherDir}`),
  DATA_DIR_FOREIGN: unavailable('Name an empty or new directory with --data DIR'),
  DATA_DIR_ACCESS: unavailable(`Run as the user who owns it, ${toOtherDir}`),
  DATA_DIR_IO: unavailable(`Check the path and the disk, ${toOtherDir}`),
  KEYS_MISSING: unavailable('Make one with {openim} init, or name its directory with --data DIR'),
  KEYS_CORRUPT: unavailable(toRestore),
  STORE_FULL: unavailable('Make room on that disk and try again; nothing that was stored is lost'),
  STORE_CORRUPT: unavailable(toRestore),
  STORE_LOCKED: unavailable('Stop the other node or backup first'),
  STORE_NEWER: unavailable('Update openIM: this data was written by a newer one'),
  STORE_ADDRESS: usage('docs/operate.md shows the addresses of each database'),
  STORE_AWAY: unavailable('See whether the database runs, and its log'),
  STORE_TLS: unavailable('See docs/databases.md, TLS'),
  STORE_DRIVER: unavailable('Install the package that the message names'),
  STORE_NOT_EMPTY: unavailable('Name an empty database'),
  STORE_UNFINISHED: unavailable('Do the same import again'),
  ARCHIVE_CORRUPT: unavailable('Export it again'),
  BACKUP_CORRUPT: unavailable('Try another copy of the backup'),
  OVERLAY_LISTEN: unavailable('Let the system choose a free port: --p2p-listen /ip4/0.0.0.0/tcp/0'),
  CONNECTOR_ADDRESS_IN_USE: unavailable('Let the system choose a free port: --tcp-listen 127.0.0.1:0'),
  CONTROL_LISTEN: unavailable('Check the data directory and its permissions'),

  CONTACT_UNKNOWN: { exit: exits.unknown, hint: 'List them with: {openim} contacts' },
  FILE_EXPIRED: { exit: exits.unknown, hint: 'Ask for it again: files wait for 14 days' },
  FILE_GONE: { exit: exits.unknown, hint: 'Ask for it again' },
  FILE_UNKNOWN: { exit: exits.unknown, hint: 'List them with: {openim} files' },
  FILE_QUOTA: { exit: exits.quota, hint: 'Cancel some with: {openim} files cancel ID' },
  FILE_BUSY: { exit: exits.quota, hint: 'See {openim} files' },
  MESSAGE_UNKNOWN: { exit: exits.unknown, hint: 'The id comes from: {openim} send --json' },
  TRUST_CHANGED: { exit: exits.untrusted, hint: keyHint },
  SAFETY_NUMBER_MISMATCH: {
    exit: exits.untrusted, hint: 'Do not write secrets; meet, and compare again: {openim} verify CONTACT',
  },
  WAIT_TIMEOUT: { exit: exits.late, hint: 'It goes on by itself; why it waits: {openim} doctor CONTACT' },
  PING_FAILED: { exit: exits.late, hint: 'See {openim} doctor CONTACT' },
  CONTROL_BUSY: { exit: exits.quota, hint: 'Wait for the other commands to end' },
  OUTBOX_FULL: { exit: exits.quota, hint: 'Wait until some are delivered; see {openim} status' },
  CONTACT_TOO_MANY: { exit: exits.quota, hint: 'Remove some with: {openim} contacts remove CONTACT' },
  INVITE_TOO_MANY: { exit: exits.quota, hint: 'Wait until some are used or expired' },
}

/** For families of codes that share what to do. */
const byPrefix: readonly (readonly [string, Outcome])[] = [
  ['INVITE_', usage(toInvite)],
  ['ADDRESS_', usage('Copy the whole address, oim1 and 59 letters and digits')],
  ['LINK_', unavailable('Begin anew with: {openim} link')],
  ['RECOVERY_', usage('Check the 24 words and their order')],
  ['CONTACT_', usage('List your contacts with: {openim} contacts')],
  ['DATA_DIR_', unavailable(`Check the data directory, ${toOtherDir}`)],
]

/** undefined: a bug. */
const byBlame: Readonly<Record<Blame, Outcome | undefined>> = {
  user: usage(toHelp),
  local: unavailable(toDoctor),
  peer: unavailable(toDoctor),
  bug: undefined,
}

/** undefined: not expected, so a bug of ours. */
export function outcomeOf(error: unknown): Outcome | undefined {
  const code = errorCode(error)
  if (code === undefined) return undefined
  const family = (): Outcome | undefined => byPrefix.find(([prefix]) => code.startsWith(prefix))?.[1]
  const blame = errorTable[code]?.blame
  return byCode[code] ?? family() ?? (blame === undefined ? undefined : byBlame[blame])
}
