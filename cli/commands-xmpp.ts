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
      examples: [['openim xmpp ca', 'PEM on stdout: write it into a file and install that on the phone']],
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
      name: 'doctor',
      summary: 'Examine the domain, or the way to another one; exit 8 when something is wrong',
      examples: [
        ['openim xmpp doctor', 'DNS with the lines that are missing, doors, certificate'],
        ['openim xmpp doctor b.example', 'why does nothing reach b.example?'],
      ],
      args: [{ name: '[domain]', text: 'a domain of somebody else' }],
      load: () => import('./commands/xmpp-doctor.ts'),
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
      name: 'export',
      summary: 'Write what accounts of the domain keep into a file for another XMPP server',
      examples: [
        ['openim xmpp export accounts.xml', 'XEP-0227: rosters, vCards, nodes; no passwords, no archive'],
      ],
      args: [{ name: '<file>', text: 'a file that does not exist yet, on the machine of the node' }],
      load: () => import('./commands/xmpp-export.ts'),
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
