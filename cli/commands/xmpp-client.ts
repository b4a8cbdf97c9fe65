/** `openim xmpp client`: what to type into a client for this node, and how it comes to trust it. */
import { networkInterfaces } from 'node:os'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option } from '../context.ts'
import { callXmpp } from '../xmpp-call.ts'
import type { XmppCa } from '../xmpp-call.ts'

interface Facts {
  readonly address: string
  readonly domain: string
  readonly host: string
  readonly port: number
  readonly tls: 'starttls' | 'direct'
  readonly passwordCommand: string
  /** SHA-256 of the house's authority; absent: a public one issued the certificate. */
  readonly authority?: string
}

type Program = (facts: Facts) => readonly string[]

const programs: Readonly<Record<string, Program>> = {
  conversations: ({ address, host, port }) => [
    'Conversations: in the settings, turn on "Extended connection settings"; then add an account',
    `  XMPP address  ${address}`,
    `  Hostname      ${host}`,
    `  Port          ${port}`,
  ],
  // It has no field for a server: https://github.com/dino/dino/issues/115
  dino: ({ address, domain, host, port }) => [
    'Dino: menu, Accounts, +',
    `  Address       ${address}`,
    `Dino asks DNS where ${domain} is: it must say ${host}, port ${port}.`,
    ...port === 5222 ? [`Without DNS of your own, one line in /etc/hosts will do:  ${host} ${domain}`] : [
      `Without DNS of your own: listen on port 5222, and have "${host} ${domain}" in /etc/hosts.`,
    ],
  ],
  gajim: ({ address, host, port, tls }) => [
    'Gajim: add an account, tick "Advanced Settings"',
    `  Address          ${address}`,
    `  Custom Hostname  ${host}`,
    `  Port             ${port}, ${tls === 'direct' ? 'Direct TLS' : 'Start TLS'}`,
  ],
  profanity: ({ address, host, port, tls }) => [
    'Profanity: type',
    `  /connect ${address} server ${host} port ${port} tls ${tls === 'direct' ? 'legacy' : 'force'}`,
  ],
}

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const name = context.args[0]!.toLowerCase()
  const program = Object.hasOwn(programs, name) ? programs[name] : undefined
  if (program === undefined) {
    throw new OpenIMError(
      'USAGE_ARGUMENT',
      `there is no text for '${context.args[0]!}'; there is for: ${Object.keys(programs).join(', ')}`,
    )
  }
  const facts = await factsOf(context, name)
  if (terminal.json) {
    await terminal.value({ program: name, ...facts })
    return
  }
  for (const line of program(facts)) await terminal.data(line)
  await terminal.data(`Password: what this shows:  ${facts.passwordCommand}`)
  if (facts.authority === undefined) return
  await terminal.data(
    `Certificate: install the file of  ${context.openim} xmpp ca > home-ca.crt  on that device;`,
  )
  await terminal.data(`  SHA-256 ${facts.authority}`)
}

async function factsOf(context: CommandContext, program: string): Promise<Facts> {
  const { domain, owner, listen } = await callXmpp<{
    readonly domain: string, readonly owner: string, readonly listen: Readonly<Record<string, string>>,
  }>(context, 'status', {})
  const place = listen['xmpp'] ?? listen['xmpps']
  if (place === undefined) {
    throw new OpenIMError(
      'CONFIG_VALUE', 'xmpp.listen: clients need a door, and neither it nor xmpp.listen_tls is set',
    )
  }
  const user = option(context, 'user')
  const colon = place.lastIndexOf(':')
  const authority = await authorityOf(context)
  return {
    address: user === undefined ? owner : `${user}@${domain}`,
    domain,
    host: reachable(place.slice(0, colon)),
    port: Number(place.slice(colon + 1)),
    tls: listen['xmpp'] === undefined ? 'direct' : 'starttls',
    passwordCommand: `${context.openim} xmpp passwd ${program}${user === undefined ? '' : ` --user ${user}`}`,
    ...authority === undefined ? {} : { authority },
  }
}

async function authorityOf(context: CommandContext): Promise<string | undefined> {
  try {
    return (await callXmpp<XmppCa>(context, 'ca', {})).authority.fingerprint
  } catch (error) {
    if (errorCode(error) === 'XMPP_CA_NONE') return undefined
    throw error
  }
}

/** Of a door on every address: the one that others in the same network use, as far as it can be seen. */
function reachable(listened: string): string {
  const host = listened.replace(/^\[|\]$/g, '')
  if (host !== '0.0.0.0' && host !== '::') return host
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
  return (own.find(({ family }) => family === 'IPv4') ?? own[0])?.address ?? host
}
