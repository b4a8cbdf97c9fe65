/**
 * The ways of an XMPP client to people on openIM: Ad-Hoc Commands (XEP-0050) of the domain, for
 * every account that is hosted here; and the same in words, for clients that know no commands.
 */
import type { ClientApi, Contact, Trust } from '../../../protocol/client/api.ts'
import type { Account } from '../host/account.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { Command, CommandField, CommandOutcome } from '../xeps/xep-0050-commands.ts'
import { asked } from './asked.ts'

const commandsOfOurs = 'https://openim.invalid/commands'
/** What a person writes to the service to get an invite. */
const inviteWord = 'invite'

/** What the form says in a field. */
type Given = (field: string) => string | undefined
type Does = (client: ClientApi, given: Given) => Promise<CommandOutcome>

const trusts: Readonly<Record<Trust, string>> = {
  invite: 'their key came with the invite',
  verified: 'verified',
  changed: 'THEIR KEY IS IN DOUBT',
}

const contactField: CommandField = {
  name: 'contact', type: 'text-single', label: 'Contact (name, or openIM address)', isRequired: true,
}

/** @param clientOf `undefined`: the account has none, or not here; then it sees no commands */
export function contactCommands(clientOf: (account: Account) => ClientApi | undefined): Command[] {
  const command = (name: string, title: string, fields: readonly CommandField[], does: Does): Command => ({
    node: `${commandsOfOurs}#${name}`, formType: `${commandsOfOurs}#${name}`, title, fields,
    isFor: (account) => clientOf(account) !== undefined,
    async run(account, values) {
      const client = clientOf(account)
      if (client === undefined) throw new StanzaError('service-unavailable', 'the account is not here')
      return await asked(() => does(client, (field) => values.get(field)?.[0]?.trim()))
    },
  })
  return [
    command('invite', 'openIM: make an invite', [], makeInvite),
    command('add', 'openIM: add a contact', [
      { name: 'uri', type: 'text-single', label: 'Invite (openim:…)', isRequired: true },
      { name: 'name', type: 'text-single', label: 'Name; empty: as they call themselves' },
    ], addContact),
    command('contacts', 'openIM: contacts', [], listContacts),
    command('safety-number', 'openIM: safety number of a contact', [contactField], showNumber),
    command('verify', 'openIM: mark a contact as verified', [
      contactField,
      {
        name: 'number', type: 'text-single',
        label: 'The number they see; empty: you compared it and it is the same',
      },
    ], verify),
  ]
}

/**
 * What the service answers to a text: an invite adds who made it, `invite` makes one.
 * @throws INVITE_*, CONTACT_*
 */
export async function answerText(client: ClientApi, text: string): Promise<string> {
  const body = text.trim()
  if (body.toLowerCase() === inviteWord) return (await client.invite()).uri
  if (body.toLowerCase().startsWith('openim:')) return added(await client.add(body))
  return `Write an invite (openim:…) here, and I add who made it; or "${inviteWord}", to get one.`
}

/** Who made an invite says so in the answer: until then the name is made of the address. */
function added({ name }: Contact): string {
  return `${name} was asked, and is in your roster; what you write goes as soon as they answered`
}

async function addContact(client: ClientApi, given: Given): Promise<CommandOutcome> {
  const name = given('name') ?? ''
  return { note: added(await client.add(given('uri')!, name === '' ? {} : { name })) }
}

async function makeInvite(client: ClientApi): Promise<CommandOutcome> {
  const { uri, expiresAtMs } = await client.invite()
  return {
    note: 'for one person; hand it over where nobody else reads it',
    fields: [
      { name: 'uri', label: 'Invite', values: [uri] },
      { name: 'expire', label: 'Good until', values: [new Date(expiresAtMs).toISOString()] },
    ],
  }
}

async function listContacts(client: ClientApi): Promise<CommandOutcome> {
  const contacts = await client.contacts()
  if (contacts.length === 0) return { note: 'nobody yet' }
  return {
    fields: contacts.map(({ name, address, trust, state }) => ({
      name: address, label: name,
      values: [`${address}, ${state === 'active' ? trusts[trust] : 'has not answered yet'}`],
    })),
  }
}

async function showNumber(client: ClientApi, given: Given): Promise<CommandOutcome> {
  const contact = await client.contact(given('contact')!)
  const { digits, code } = await client.safetyNumber(contact.address)
  return {
    note: `compare it with what ${contact.name} sees, by voice or face to face: ${trusts[contact.trust]}`,
    fields: [
      { name: 'number', label: 'Safety number', values: [digits.join(' ')] },
      { name: 'code', label: 'For a QR code', values: [code] },
    ],
  }
}

async function verify(client: ClientApi, given: Given): Promise<CommandOutcome> {
  const contact = await client.contact(given('contact')!)
  const number = given('number') ?? ''
  const { name } = number === ''
    ? await client.markVerified(contact.address)
    : await client.verify(contact.address, number)
  return { note: `${name} is verified` }
}
