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
      name: 'ca',
      summary: 'Show the authority of this house: what devices install to trust the node',
      examples: [['openim xmpp ca > home-ca.crt', 'then install that file on the phone']],
      load: () => import('./commands/xmpp-ca.ts'),
    },
    {
      name: 'client',
      summary: 'What to type into a client for this node',
      examples: [['openim xmpp client dino', '']],
      args: [{ name: '<program>', text: 'conversations, dino, gajim or profanity' }],
      options: [user],
      load: () => import('./commands/xmpp-client.ts'),
    },
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
      name: 'invite',
      summary: 'Invite somebody to an address at the domain: works once, for a week',
      examples: [['openim xmpp invite', 'open the link in their XMPP client'],
        ['openim xmpp invite carol', 'for carol@ and no other address']],
      args: [{ name: '[name]', text: 'before the @ of the address; they choose it when left out' }],
      load: () => import('./commands/xmpp-invite.ts'),
    },
    {
      name: 'reports',
      summary: 'Show what people at the domain reported as spam or abuse',
      examples: [['openim xmpp reports', 'by whom, about whom, in their words']],
      load: () => import('./commands/xmpp-reports.ts'),
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
