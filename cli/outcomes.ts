/**
 * What becomes of an error at the end of a command: the exit code, and one line that says what to
 * do. Exit codes are part of the contract for scripts:
 *
 * | exit | meaning                                                      |
 * |------|--------------------------------------------------------------|
 * | 0    | done (a message that is queued counts)                       |
 * | 1    | a bug of openIM; a report was written                        |
 * | 2    | wrong usage, setting, invite or passphrase                   |
 * | 3    | the node is not running, or files or sockets failed          |
 * | 4    | no such contact or message                                   |
 * | 5    | a contact's key changed or is not trusted                    |
 * | 6    | not delivered, or not answered, in time                      |
 * | 7    | a quota or rate is used up                                   |
 * | 8    | `doctor` found a problem                                     |
 * | 130  | interrupted                                                  |
 */
import { errorCode } from '../crypto/errors.ts'

export const exits = {
  ok: 0,
  bug: 1,
  usage: 2,
  unavailable: 3,
  unknown: 4,
  untrusted: 5,
  late: 6,
  quota: 7,
  unhealthy: 8,
  interrupted: 130,
} as const

export interface Outcome {
  readonly exit: number
  /** What to do; `{openim}` stands for how the program is called here, `{command}` for the command. */
  readonly hint: string
}

const helpHint = 'See {openim} {command}--help'
const newInvite = 'The one who invites makes a new one with: {openim} invite'

const byCode: Readonly<Record<string, Outcome>> = {
  USAGE_ARGUMENT: { exit: exits.usage, hint: helpHint },
  USAGE_NO_TERMINAL: { exit: exits.usage, hint: 'Give it by file or flag, or run this in a terminal' },
  USAGE_FILE: { exit: exits.usage, hint: 'Check the path and its permissions' },
  USAGE_EXISTS: { exit: exits.usage, hint: 'Name a file that does not exist yet: nothing is ever overwritten' },
  IDENTITY_EXISTS: { exit: exits.usage, hint: 'Start it with {openim} start, or name another directory with --data DIR' },
  CONFIG_SYNTAX: { exit: exits.usage, hint: 'Correct that line; every key may also be left out' },
  CONFIG_KEY_UNKNOWN: { exit: exits.usage, hint: 'Correct or delete that line; docs/operate.md lists every setting' },
  CONFIG_VALUE: { exit: exits.usage, hint: 'Correct or delete that setting; docs/operate.md lists them all' },

  NODE_NOT_RUNNING: { exit: exits.unavailable, hint: 'Start it with: {openim} start' },
  NODE_STOPPED: { exit: exits.unavailable, hint: 'Start it again with: {openim} start' },
  DATA_DIR_IN_USE: { exit: exits.unavailable, hint: 'Stop that one first, or name another directory with --data DIR' },
  DATA_DIR_FOREIGN: { exit: exits.unavailable, hint: 'Name an empty or new directory with --data DIR' },
  DATA_DIR_ACCESS: { exit: exits.unavailable, hint: 'Run as the user who owns it, or name another directory with --data DIR' },
  DATA_DIR_IO: { exit: exits.unavailable, hint: 'Check the path and the disk, or name another directory with --data DIR' },
  KEYS_MISSING: { exit: exits.unavailable, hint: 'Make one with {openim} init, or name its directory with --data DIR' },
  KEYS_CORRUPT: { exit: exits.unavailable, hint: 'Put the newest backup back: {openim} backup restore FILE --data NEW_DIR' },
  KEYS_SEALED: { exit: exits.usage, hint: 'Give it with --passphrase-file FILE, or run this in a terminal' },
  KEYS_PASSPHRASE: { exit: exits.usage, hint: 'Try again; without it only the recovery phrase or a backup helps' },
  STORE_FULL: { exit: exits.unavailable, hint: 'Make room on that disk and try again; nothing that was said to be stored is lost' },
  STORE_CORRUPT: { exit: exits.unavailable, hint: 'Put the newest backup back: {openim} backup restore FILE --data NEW_DIR' },
  BACKUP_CORRUPT: { exit: exits.unavailable, hint: 'Try another copy of the backup' },
  BACKUP_PASSPHRASE: { exit: exits.usage, hint: 'Try again; without its passphrase nobody can open a backup' },
  OVERLAY_LISTEN: { exit: exits.unavailable, hint: 'Let the system choose a free port: --p2p-listen /ip4/0.0.0.0/tcp/0' },
  CONNECTOR_ADDRESS_IN_USE: { exit: exits.unavailable, hint: 'Let the system choose a free port: --tcp-listen 127.0.0.1:0' },
  CONTROL_LISTEN: { exit: exits.unavailable, hint: 'Check the data directory and its permissions' },

  CONTACT_UNKNOWN: { exit: exits.unknown, hint: 'List them with: {openim} contacts' },
  MESSAGE_UNKNOWN: { exit: exits.unknown, hint: 'The id comes from: {openim} send --json' },
  CONTACT_KEY_CHANGED: { exit: exits.untrusted, hint: 'Ask them in person before you write again' },

  INVITE_EXPIRED: { exit: exits.usage, hint: newInvite },
  INVITE_OWN: { exit: exits.usage, hint: 'Give it to somebody else; they type {openim} add and the invite' },
  TEXT_TOO_LONG: { exit: exits.usage, hint: 'Send it in parts' },

  WAIT_TIMEOUT: { exit: exits.late, hint: 'It stays queued and goes out by itself; see {openim} doctor CONTACT' },
  PING_FAILED: { exit: exits.late, hint: 'See {openim} doctor CONTACT' },
  CONTROL_BUSY: { exit: exits.quota, hint: 'Wait for the other commands to end' },
  OUTBOX_FULL: { exit: exits.quota, hint: 'Wait until some messages are delivered; see {openim} status' },
  CONTACTS_FULL: { exit: exits.quota, hint: 'Remove some with: {openim} contacts remove CONTACT' },
}

/** For the codes of lower layers that have no line of their own; the longest prefix wins. */
const byPrefix: readonly (readonly [string, Outcome])[] = [
  ['INVITE_', { exit: exits.usage, hint: newInvite }],
  ['ADDRESS_', { exit: exits.usage, hint: 'Copy the whole address, oim1 and 59 letters and digits' }],
  ['RECOVERY_', { exit: exits.usage, hint: 'Check the 24 words and their order' }],
  ['CONTACT_', { exit: exits.usage, hint: 'List your contacts with: {openim} contacts' }],
  ['TEXT_', { exit: exits.usage, hint: helpHint }],
  ['USAGE_', { exit: exits.usage, hint: helpHint }],
  ['CONFIG_', { exit: exits.usage, hint: helpHint }],
  ['STORE_', { exit: exits.unavailable, hint: 'See {openim} doctor' }],
  ['OVERLAY_', { exit: exits.unavailable, hint: 'See {openim} doctor' }],
  ['CONNECTOR_', { exit: exits.unavailable, hint: 'See {openim} doctor' }],
  ['DATA_DIR_', { exit: exits.unavailable, hint: 'Check the data directory, or name another with --data DIR' }],
]

/** undefined: not expected, so a bug. */
export function outcomeOf(error: unknown): Outcome | undefined {
  const code = errorCode(error)
  if (code === undefined) return undefined
  return byCode[code] ?? byPrefix.find(([prefix]) => code.startsWith(prefix))?.[1]
}
