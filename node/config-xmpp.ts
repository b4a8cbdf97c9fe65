/**
 * The table `[xmpp]` of `config.toml`: the domain that this node serves for ordinary XMPP clients and
 * other servers (bridges/xmpp). Absent: nothing of it is loaded.
 *
 * ```toml
 * [xmpp]
 * domain = "example.org"
 * listen = "0.0.0.0:5222"          # clients, STARTTLS; each of these is off until set
 * listen_tls = "0.0.0.0:5223"      # clients, TLS from the first byte
 * listen_web = "0.0.0.0:5443"      # WebSocket and host-meta
 * listen_s2s = "0.0.0.0:5269"      # other servers, STARTTLS
 * listen_s2s_tls = "0.0.0.0:5270"  # other servers, TLS from the first byte
 * cert = "/etc/ssl/example.org.pem" # with its chain, PEM; looked at again every minute; without both
 * key = "/etc/ssl/example.org.key"  # the node is its own authority: for a network at home
 * abuse = ["mailto:abuse@example.org"]
 * shield = "prefer"                # or "require", "off": sealed over openIM to domains that run it, too
 * archive_days = 365               # archived messages go then; without it they are kept for ever
 * [xmpp.upload]                    # files over HTTP, where listen_web is set (XEP-0363)
 * enabled = true
 * file_max = "100MB"               # of one file
 * account_max = "2GB"              # of what one account has there
 * day_max = "500MB"                # of what one account brings in a day
 * total_max = "10GB"
 * days = 30                        # then a file goes
 * [xmpp.s2s]
 * proof = "certificate"            # or "dialback" for all that have no valid certificate
 * dialback = ["old.example"]       # or for these alone
 * blocked = ["spam.example"]       # with everything below them
 * sealed = ["friends.example"]     # reached over openIM or not at all
 * dns = ["127.0.0.1:5353"]         # in place of the system's servers
 * ca = "/etc/ssl/our-ca.pem"       # authorities trusted besides those that Node knows
 * [xmpp.s2s.routes]
 * "b.example" = "192.0.2.7:5269"   # instead of what DNS says; "tls://…" for TLS from the first byte
 * ```
 */
import * as v from 'valibot'

export interface XmppSettings {
  readonly domain: string
  readonly listen: {
    readonly clients?: string
    readonly clientsTls?: string
    readonly web?: string
    readonly servers?: string
    readonly serversTls?: string
  }
  /** `undefined`: the bridge makes its own, under an authority of the house. */
  readonly files: { readonly cert: string, readonly key: string } | undefined
  readonly abuse: readonly string[]
  /** `undefined`: kept for ever. */
  readonly archiveDays: number | undefined
  readonly shield: 'prefer' | 'require' | 'off'
  /** `undefined` where the bridge has a default. */
  readonly upload: {
    readonly enabled: boolean
    readonly fileBytesMax: number | undefined
    readonly accountBytesMax: number | undefined
    readonly dayBytesMax: number | undefined
    readonly totalBytesMax: number | undefined
    readonly keptDays: number | undefined
  }
  readonly s2s: {
    readonly proof: 'certificate' | 'dialback'
    readonly dialback: readonly string[]
    readonly blocked: readonly string[]
    readonly sealed: readonly string[]
    readonly dns: readonly string[]
    readonly ca: string | undefined
    /** Domain → `HOST:PORT`, or `tls://HOST:PORT`. */
    readonly routes: Readonly<Record<string, string>>
  }
}

const domainsMax = 1_000
const domainForm = 'must be a domain such as "example.org"'
const domain = v.pipe(v.string(domainForm), v.check(isDomain, domainForm))
const domains = v.pipe(v.array(domain, 'must be a list of domains'), v.maxLength(domainsMax))
const dnsForm = 'must be a list of DNS servers such as ["192.0.2.53"]'
const route = v.pipe(
  v.string('must be "HOST:PORT" or "tls://HOST:PORT"'),
  v.check((text) => /^(tls:\/\/)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/.test(text),
    'must be "HOST:PORT" or "tls://HOST:PORT"'),
)
const addressForm = 'must be a list of addresses such as ["mailto:abuse@example.org"]'
const address = v.pipe(
  v.string(addressForm), v.check((text) => /^(mailto|xmpp|https?):\S+$/.test(text), addressForm),
)

const shieldModes = ['prefer', 'require', 'off'] as const

const daysForm = 'must be a number of days from 1 to 3650'
const days = v.pipe(
  v.number(daysForm), v.check((count) => Number.isInteger(count) && count >= 1 && count <= 3_650, daysForm),
)

type UploadTable = v.InferOutput<ReturnType<typeof uploadTable>>

function uploadTable(size: v.GenericSchema<unknown, number>) {
  return v.strictObject({
    enabled: v.optional(v.boolean('must be true or false')),
    file_max: v.optional(size),
    account_max: v.optional(size),
    day_max: v.optional(size),
    total_max: v.optional(size),
    days: v.optional(days),
  })
}

function uploadSettings(given: UploadTable | undefined): XmppSettings['upload'] {
  return {
    enabled: given?.enabled ?? true,
    fileBytesMax: given?.file_max,
    accountBytesMax: given?.account_max,
    dayBytesMax: given?.day_max,
    totalBytesMax: given?.total_max,
    keptDays: given?.days,
  }
}

/** Names of the settings, for "did you mean". */
export const xmppSettingNames = [
  'xmpp.domain', 'xmpp.listen', 'xmpp.listen_tls', 'xmpp.listen_web', 'xmpp.listen_s2s',
  'xmpp.listen_s2s_tls',
  'xmpp.cert', 'xmpp.key', 'xmpp.abuse', 'xmpp.archive_days', 'xmpp.shield', 'xmpp.s2s.sealed',
  'xmpp.upload.enabled', 'xmpp.upload.file_max', 'xmpp.upload.account_max', 'xmpp.upload.day_max',
  'xmpp.upload.total_max', 'xmpp.upload.days', 'xmpp.s2s.proof', 'xmpp.s2s.dialback', 'xmpp.s2s.blocked',
  'xmpp.s2s.dns', 'xmpp.s2s.ca', 'xmpp.s2s.routes',
] as const

/** @param forms how the other tables read the same kinds of value */
export function xmppTable({ hostPort, file, size }: {
  readonly hostPort: v.GenericSchema<unknown, string>, readonly file: v.GenericSchema<unknown, string>,
  readonly size: v.GenericSchema<unknown, number>,
}): v.GenericSchema<unknown, XmppSettings> {
  const table = v.strictObject({
    domain,
    listen: v.optional(hostPort),
    listen_tls: v.optional(hostPort),
    listen_web: v.optional(hostPort),
    listen_s2s: v.optional(hostPort),
    listen_s2s_tls: v.optional(hostPort),
    cert: v.optional(file),
    key: v.optional(file),
    abuse: v.optional(v.pipe(v.array(address, addressForm), v.maxLength(10))),
    shield: v.optional(v.picklist(shieldModes, 'must be "prefer", "require" or "off"')),
    archive_days: v.optional(days),
    upload: v.optional(uploadTable(size)),
    s2s: v.optional(v.strictObject({
      proof: v.optional(v.picklist(['certificate', 'dialback'], 'must be "certificate" or "dialback"')),
      dialback: v.optional(domains),
      blocked: v.optional(domains),
      sealed: v.optional(domains),
      dns: v.optional(v.pipe(v.array(v.string(dnsForm), dnsForm), v.maxLength(5))),
      ca: v.optional(file),
      routes: v.optional(v.record(domain, route)),
    })),
  }, 'must be a table with domain')
  const isPaired = v.rawCheck<v.InferOutput<typeof table>>(({ dataset, addIssue }) => {
    if (!dataset.typed || (dataset.value.cert === undefined) === (dataset.value.key === undefined)) return
    addIssue({ message: 'must come together with xmpp.key', received: '' })
  })
  // Others learn at the web door which account to write to.
  const hasDoor = v.rawCheck<v.InferOutput<typeof table>>(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const { shield, s2s, listen_web: web } = dataset.value
    const isNeeded = shield === 'require' || (shield !== 'off' && (s2s?.sealed ?? []).length > 0)
    if (isNeeded && web === undefined) addIssue({ message: 'needs xmpp.listen_web', received: '' })
  })
  const whole = v.pipe(table, v.forward(isPaired, ['cert']), v.forward(hasDoor, ['shield']))
  return v.pipe(whole, v.transform((given): XmppSettings => ({
    domain: given.domain,
    listen: {
      ...given.listen === undefined ? {} : { clients: given.listen },
      ...given.listen_tls === undefined ? {} : { clientsTls: given.listen_tls },
      ...given.listen_web === undefined ? {} : { web: given.listen_web },
      ...given.listen_s2s === undefined ? {} : { servers: given.listen_s2s },
      ...given.listen_s2s_tls === undefined ? {} : { serversTls: given.listen_s2s_tls },
    },
    files: given.cert === undefined || given.key === undefined ? undefined
      : { cert: given.cert, key: given.key },
    abuse: given.abuse ?? [],
    archiveDays: given.archive_days,
    shield: given.shield ?? 'prefer',
    upload: uploadSettings(given.upload),
    s2s: {
      proof: given.s2s?.proof ?? 'certificate',
      dialback: given.s2s?.dialback ?? [],
      blocked: given.s2s?.blocked ?? [],
      sealed: given.s2s?.sealed ?? [],
      dns: given.s2s?.dns ?? [],
      ca: given.s2s?.ca,
      routes: given.s2s?.routes ?? {},
    },
  })))
}

/**
 * Lower-case labels of letters, digits and dashes (RFC 1123), an internationalised name in its ASCII
 * form.
 */
function isDomain(text: string): boolean {
  const labels = text.split('.')
  const areGood = labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label))
  return text.length <= 253 && labels.length > 1 && areGood
}
