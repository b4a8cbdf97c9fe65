/**
 * Settings: `config.toml`, where every key is optional, under environment, under flags.
 *
 * ```toml
 * name = "alice"
 * profile = "home"                 # home | server | relay
 * [listen]
 * p2p = 4481                       # a port, or multiaddrs: ["/ip4/0.0.0.0/tcp/4481/ws", …]
 * tcp = "0.0.0.0:4484"             # doors for devices, HOST:PORT; port 0: any free one, each time
 * udp = "0.0.0.0:4484"             # unset: this machine alone, a port picked once and kept
 * ws = "0.0.0.0:4482"              # WebSocket and HTTP/2 are off until set
 * http2 = "0.0.0.0:4483"
 * trusted_proxies = []             # reverse proxies by IP address; the UDP door knows none
 * [tls]                            # optional: the doors speak TLS, too
 * cert = "/etc/ssl/node.pem"       # with its chain, PEM
 * key = "/etc/ssl/node.key"
 * [p2p]
 * bootstrap = []                   # multiaddrs of nodes to meet first
 * mdns = true                      # find nodes in the same living room
 * [database]                       # optional: in place of the embedded one
 * url = "postgresql://openim@localhost/openim"
 * password_file = "/etc/openim/database-password"
 * [xmpp]                           # optional: a domain for XMPP clients and servers (config-xmpp.ts)
 * [limits]
 * held_for_others = "512MB"        # mail kept for other people
 * peers = 64
 * [log]
 * level = "warn"                   # debug | info | warn | error | silent
 * ```
 *
 * A key that is not a setting is an error, not a shrug: a misspelled limit would silently be no
 * limit. Errors say `file:line:column`, what is wrong and the likely word. The file is never
 * rewritten by the program, so comments stay.
 */
import { networkInterfaces } from 'node:os'
import { isIP } from 'node:net'
import { parse, TomlError } from 'smol-toml'
import * as v from 'valibot'
import { OpenIMError } from '../crypto/errors.ts'
import { utf8 } from '../crypto/bytes.ts'
import { limits } from '../protocol/limits.ts'
import { xmppSettingNames, xmppTable } from './config-xmpp.ts'
import type { XmppSettings } from './config-xmpp.ts'
import { storeAddressProblem } from './storage/store-address.ts'
import { suggest } from './suggest.ts'
import { keyPath, locateKeys } from './toml-locate.ts'

export const profiles = ['home', 'server', 'relay'] as const
export type Profile = (typeof profiles)[number]

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** What the node runs with: everything decided. */
export interface NodeConfig {
  readonly name: string
  readonly profile: Profile
  readonly listen: {
    /** Multiaddrs without a peer id. */
    readonly p2p: readonly string[]
    /** Doors for devices, `host:port`; absent: this machine alone, a port that the node keeps. */
    readonly tcp: string | undefined
    readonly udp: string | undefined
    /** The same; absent: off. */
    readonly ws: string | undefined
    readonly http2: string | undefined
    /** IP addresses that are not bounded per address. */
    readonly trustedProxies: readonly string[]
  }
  /** Files; absent: no TLS. */
  readonly tls: { readonly cert: string, readonly key: string } | undefined
  readonly p2p: { readonly bootstrap: readonly string[], readonly mdns: boolean }
  /** Absent: the embedded one in the data directory. */
  readonly database: DatabaseSettings | undefined
  readonly xmpp: XmppSettings | undefined
  readonly limits: { readonly heldForOthersBytes: number, readonly peers: number }
  readonly log: { readonly level: LogLevel }
}

export interface DatabaseSettings {
  /** Without a password (storage/open-store.ts). */
  readonly url: string
  readonly passwordFile: string | undefined
}

/** What one source (flags, environment or file) says; absent: no opinion. */
export interface Settings {
  name?: string | undefined
  profile?: Profile | undefined
  listenP2p?: readonly string[] | undefined
  listenTcp?: string | undefined
  listenUdp?: string | undefined
  listenWs?: string | undefined
  listenHttp2?: string | undefined
  trustedProxies?: readonly string[] | undefined
  tls?: { readonly cert: string, readonly key: string } | undefined
  bootstrap?: readonly string[] | undefined
  mdns?: boolean | undefined
  database?: DatabaseSettings | undefined
  xmpp?: XmppSettings | undefined
  heldForOthersBytes?: number | undefined
  peers?: number | undefined
  logLevel?: LogLevel | undefined
}

/** The port a node takes when nobody asks for another one. */
export const defaultP2pPort = 4481

// ── Values ──────────────────────────────────────────────────────────────────────────────────

const sizeUnits = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 } as const

/** Bytes from `512MB`, `1.5 GB` or a plain number; units are powers of 1,024. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([KMGT]?B)?$/i.exec(text.trim())
  if (match === null) return undefined
  const unit = (match[2] ?? 'B').toUpperCase() as keyof typeof sizeUnits
  const bytes = Math.round(Number(match[1]) * sizeUnits[unit])
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 65_535
}

/** `127.0.0.1:0`, `[::1]:4482`, `localhost:4482`. */
export function isHostPort(text: string): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text)
  if (match === null || !isPort(Number(match[3]))) return false
  return match[1] === undefined || isIP(match[1]) === 6
}

const hostForm = '/(ip4|ip6|dns|dns4|dns6|dnsaddr)/([^/]+)'
const portForm = '/tcp/(\\d{1,5})(?:(?:/tls)?/ws|/wss)?'
const peerForm = '/p2p/12D3KooW[1-9A-HJ-NP-Za-km-z]{44}'
const multiaddrForm = new RegExp(`^${hostForm}(?:${portForm})?(?:${peerForm})?$`)

/** The forms that openIM dials: IP or DNS name, TCP or WebSocket, with or without a peer id. */
export function isMultiaddr(text: string): boolean {
  const match = multiaddrForm.exec(text)
  if (match === null) return false
  const [, kind, host, port] = match
  if (kind === 'ip4' && isIP(host!) !== 4) return false
  if (kind === 'ip6' && isIP(host!) !== 6) return false
  return port === undefined ? kind === 'dnsaddr' : isPort(Number(port))
}

export function isListenMultiaddr(text: string): boolean {
  return isMultiaddr(text) && /^\/ip[46]\//.test(text) && !text.includes('/p2p/')
}

/** A port on every interface; IPv6 only where the machine has it. */
export function listenOnPort(port: number): string[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const hasIpv6 = interfaces.some(({ family }) => family === 'IPv6')
  const all = [`/ip4/0.0.0.0/tcp/${port}`]
  return hasIpv6 ? [...all, `/ip6/::/tcp/${port}`] : all
}

// ── Schema ──────────────────────────────────────────────────────────────────────────────────

const addressForm = 'must be a multiaddr such as "/ip4/203.0.113.9/tcp/4481"'
const name = v.pipe(
  v.string('must be text in quotes'),
  v.check((text) => text.trim() !== '', 'must not be empty'),
  v.check((text) => utf8(text).length <= limits.nameBytesMax, `must be at most ${limits.nameBytesMax} bytes`),
  v.check((text) => !/\p{C}/u.test(text), 'must not hold control characters'),
)
const hostPort = v.pipe(
  v.string('must be "HOST:PORT" in quotes'),
  v.check(isHostPort, 'must be "HOST:PORT" such as "127.0.0.1:0"'),
)
const listenAddress = v.pipe(
  v.string(addressForm),
  v.check(isListenMultiaddr, `${addressForm}, with an IP address`),
)
const listenP2p = v.union([
  v.pipe(v.number(), v.check(isPort), v.transform(listenOnPort)),
  v.pipe(v.array(listenAddress), v.maxLength(limits.listenAddressesMax)),
], 'must be a port from 0 to 65535 or a list of multiaddrs such as ["/ip4/0.0.0.0/tcp/4481"]')
const proxiesForm = 'must be a list of IP addresses such as ["127.0.0.1"]'
const trustedProxies = v.pipe(
  v.array(v.pipe(v.string(proxiesForm), v.check((text) => isIP(text) !== 0, proxiesForm)), proxiesForm),
  v.maxLength(limits.listenAddressesMax),
)
const file = v.pipe(
  v.string('must be the path of a file in quotes'),
  v.check((text) => text !== '', 'must not be empty'),
)
const databaseUrl = v.pipe(
  v.string('must be an address such as "postgresql://openim@localhost/openim"'),
  v.rawCheck(({ dataset, addIssue }) => {
    const problem = dataset.typed ? storeAddressProblem(dataset.value) : undefined
    // Without what was written: somebody may have put a password into it.
    if (problem !== undefined) addIssue({ message: problem, received: '' })
  }),
)
const bootstrap = v.pipe(
  v.array(v.pipe(v.string(addressForm), v.check(isMultiaddr, addressForm)), 'must be a list of multiaddrs'),
  v.maxLength(limits.bootstrapMax, `must name at most ${limits.bootstrapMax} nodes`),
)
const sizeForm = 'must be a size such as "512MB"'
const size = v.pipe(
  v.union([v.number(), v.string()], sizeForm),
  v.check((value) => parseSize(String(value)) !== undefined, sizeForm),
  v.transform((value) => parseSize(String(value))!),
)
const peersForm = `must be from 1 to ${limits.peersMax}`
const peers = v.pipe(
  v.number('must be a number'),
  v.check((count) => Number.isInteger(count) && count >= 1 && count <= limits.peersMax, peersForm),
)
const mdns = v.boolean('must be true or false')
const profile = v.picklist(profiles, `must be one of ${profiles.join(', ')}`)
const logLevel = v.picklist(logLevels, `must be one of ${logLevels.join(', ')}`)

const fileSchema = v.strictObject({
  name: v.optional(name),
  profile: v.optional(profile),
  listen: v.optional(v.strictObject({
    p2p: v.optional(listenP2p),
    tcp: v.optional(hostPort),
    udp: v.optional(hostPort),
    ws: v.optional(hostPort),
    http2: v.optional(hostPort),
    trusted_proxies: v.optional(trustedProxies),
  })),
  tls: v.optional(v.strictObject({ cert: file, key: file }, 'must be a table with cert and key')),
  database: v.optional(v.strictObject({ url: databaseUrl, password_file: v.optional(file) })),
  xmpp: v.optional(xmppTable({ hostPort, file, size })),
  p2p: v.optional(v.strictObject({ bootstrap: v.optional(bootstrap), mdns: v.optional(mdns) })),
  limits: v.optional(v.strictObject({ held_for_others: v.optional(size), peers: v.optional(peers) })),
  log: v.optional(v.strictObject({ level: v.optional(logLevel) })),
})

/** Every setting by its full name, for "did you mean". */
export const settingNames = [
  'name', 'profile', 'listen.p2p', 'listen.tcp', 'listen.udp', 'listen.ws', 'listen.http2',
  'listen.trusted_proxies', 'tls.cert', 'tls.key', 'database.url', 'database.password_file',
  ...xmppSettingNames, 'p2p.bootstrap', 'p2p.mdns',
  'limits.held_for_others', 'limits.peers', 'log.level',
] as const
const tableNames = ['listen', 'tls', 'database', 'xmpp', 'xmpp.s2s', 'p2p', 'limits', 'log'] as const

// ── File ────────────────────────────────────────────────────────────────────────────────────

/**
 * Settings from the text of a `config.toml`; `file` is only for the messages.
 *
 * @throws CONFIG_SYNTAX, CONFIG_KEY_UNKNOWN, CONFIG_VALUE with `file:line:column` first in the
 *   message and `line`, `column`, `key` in the details
 */
export function parseConfig(text: string, file: string): Settings {
  let table: unknown
  try {
    table = parse(text, { maxDepth: 8 })
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    throw syntaxError(cause, file)
  }
  const result = v.safeParse(fileSchema, table, { abortEarly: true })
  if (!result.success) throw valueError(result.issues[0], text, file)
  const { output } = result
  return {
    name: output.name,
    profile: output.profile,
    listenP2p: output.listen?.p2p,
    listenTcp: output.listen?.tcp,
    listenUdp: output.listen?.udp,
    listenWs: output.listen?.ws,
    listenHttp2: output.listen?.http2,
    trustedProxies: output.listen?.trusted_proxies,
    tls: output.tls,
    bootstrap: output.p2p?.bootstrap,
    mdns: output.p2p?.mdns,
    database: output.database && {
      url: output.database.url, passwordFile: output.database.password_file,
    },
    xmpp: output.xmpp,
    heldForOthersBytes: output.limits?.held_for_others,
    peers: output.limits?.peers,
    logLevel: output.log?.level,
  }
}

function syntaxError(error: TomlError, file: string): OpenIMError {
  const { line, column } = error
  const what = error.message.split('\n')[0]!.replace('Invalid TOML document: ', '')
  const details = { file, line, column }
  return new OpenIMError('CONFIG_SYNTAX', `${file}:${line}:${column}: ${what}`, { details })
}

type Issue = v.InferIssue<typeof fileSchema>

function valueError(issue: Issue, text: string, file: string): OpenIMError {
  const path = (issue.path ?? []).map((item) => item.key as string | number)
  const position = locateKeys(text).get(keyPath(path)) ?? { line: 1, column: 1 }
  const key = path.filter((part) => typeof part === 'string').join('.')
  const where = `${file}:${position.line}:${position.column}`
  const details = { file, ...position, key }
  if (issue.expected === 'never') {
    const meant = suggest(key, [...settingNames, ...tableNames]) ?? elsewhere(key)
    const question = meant === undefined ? '' : `. Did you mean ${meant}?`
    return new OpenIMError('CONFIG_KEY_UNKNOWN', `${where}: ${key} is not a setting${question}`, { details })
  }
  return new OpenIMError('CONFIG_VALUE', `${where}: ${key} ${reason(issue)}`, { details })
}

/** The right word in the wrong table: `peers` at the top means `limits.peers`. */
function elsewhere(key: string): string | undefined {
  const last = key.slice(key.lastIndexOf('.') + 1)
  return settingNames.find((setting) => setting.endsWith(`.${last}`))
}

function reason(issue: Issue): string {
  const wanted = issue.type === 'strict_object' ? 'must be a table' : issue.message
  const received = issue.received.length > 40 ? `${issue.received.slice(0, 40)}…` : issue.received
  return received === '' ? wanted : `${wanted}, not ${received}`
}

// ── Environment, precedence ─────────────────────────────────────────────────────────────────

type Schema<T> = v.GenericSchema<unknown, T>
type Convert = (text: string) => unknown

/** Lists are separated by commas or blanks. @throws CONFIG_VALUE naming the variable */
export function environmentSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const list = (text: string) => text.split(/[\s,]+/).filter((item) => item !== '')
  const port = (text: string) => (/^\d{1,5}$/.test(text) ? Number(text) : list(text))
  const read = <T>(variable: string, schema: Schema<T>, convert?: Convert): T | undefined => {
    const text = env[variable]
    if (text === undefined || text === '') return undefined
    const result = v.safeParse(schema, convert?.(text) ?? text, { abortEarly: true })
    if (result.success) return result.output
    const { message } = result.issues[0]
    throw new OpenIMError('CONFIG_VALUE', `${variable} ${message}`, { details: { key: variable } })
  }
  return {
    profile: read('OPENIM_PROFILE', profile),
    listenP2p: read('OPENIM_P2P_LISTEN', listenP2p, port),
    listenTcp: read('OPENIM_TCP_LISTEN', hostPort),
    listenUdp: read('OPENIM_UDP_LISTEN', hostPort),
    listenWs: read('OPENIM_WS_LISTEN', hostPort),
    listenHttp2: read('OPENIM_HTTP2_LISTEN', hostPort),
    bootstrap: read('OPENIM_BOOTSTRAP', bootstrap, list),
    mdns: read('OPENIM_MDNS', mdns, (text) => ({ true: true, false: false })[text] ?? text),
    logLevel: read('OPENIM_LOG_LEVEL', logLevel),
  }
}

/** The first source that has an opinion wins: flags, then environment, then file. */
export function mergeSettings(...sources: readonly Settings[]): Settings {
  const merged: Settings = {}
  for (const source of sources.toReversed()) {
    for (const [key, value] of Object.entries(source)) {
      if (value !== undefined) Object.assign(merged, { [key]: value })
    }
  }
  return merged
}

/** Fills in the defaults: kind to a home router (DESIGN §12). */
export function nodeConfig(settings: Settings): NodeConfig {
  return {
    name: settings.name ?? 'me',
    profile: settings.profile ?? 'home',
    listen: {
      p2p: settings.listenP2p ?? listenOnPort(defaultP2pPort),
      tcp: settings.listenTcp,
      udp: settings.listenUdp,
      ws: settings.listenWs,
      http2: settings.listenHttp2,
      trustedProxies: settings.trustedProxies ?? [],
    },
    tls: settings.tls,
    p2p: { bootstrap: settings.bootstrap ?? [], mdns: settings.mdns ?? true },
    database: settings.database,
    xmpp: settings.xmpp,
    limits: {
      heldForOthersBytes: settings.heldForOthersBytes ?? limits.lentBytesMax,
      peers: settings.peers ?? limits.peersDefault,
    },
    log: { level: settings.logLevel ?? 'warn' },
  }
}
