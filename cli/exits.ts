/**
 * Exit codes, part of the contract for scripts:
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
