/** The rows of `openim xmpp` in the command table. */
import type { CommandSpec, OptionSpec } from './command-spec.ts'

const user: OptionSpec = { flags: '--user <name>', text: 'before the @ of the address (default: the owner)' }

export const xmpp: CommandSpec = {
  name: 'xmpp',
  summary: 'The domain that this node serves for XMPP clients and servers',
  examples: [
    ['openim xmpp', 'address, doors, sessions, links to other servers'],
    ['openim xmpp passwd phone', 'an app password for one more client'],
  ],
  load: () => import('./commands/xmpp.ts'),
  commands: [
    {
      name: 'passwd',
      summary: 'Make an app password: shown once, for one client',
      examples: [['openim xmpp passwd phone', 'type it into the client on the phone']],
      args: [{ name: '<device>', text: 'what you call the client: phone, laptop' }],
      options: [user],
      load: () => import('./commands/xmpp-passwd.ts'),
    },
    {
      name: 'passwords',
      summary: 'List the app passwords, by name and last use',
      examples: [['openim xmpp passwords', '']],
      options: [user],
      load: () => import('./commands/xmpp-passwords.ts'),
    },
    {
      name: 'revoke',
      summary: 'End an app password and the sessions made with it',
      examples: [['openim xmpp revoke phone', 'the phone is lost']],
      args: [{ name: '<device>', text: 'as it was called' }],
      options: [user],
      load: () => import('./commands/xmpp-revoke.ts'),
    },
  ],
}
