/** The table `[xmpp]`: what it becomes, and where a refusal points. */
import * as assert from 'uvu/assert'
import { nodeConfig, parseConfig } from '../../node/config.ts'
import type { XmppSettings } from '../../node/config-xmpp.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('node/config-xmpp')

function taken(text: string): XmppSettings | undefined {
  return nodeConfig(parseConfig(text, 'config.toml')).xmpp
}

function refusal(table: string): string {
  try {
    parseConfig(`[xmpp]\n${table}`, 'config.toml')
  } catch (error) {
    const { code, message } = error as { code: string, message: string }
    return `${code} ${message}`
  }
  throw new Error(`was taken: ${table}`)
}

test('nothing of it stands without the table', () => {
  assert.is(taken('name = "alice"'), undefined)
})

test('a domain and a door are enough: the node is its own authority', () => {
  const settings = taken('[xmpp]\ndomain = "home.example"\nlisten = "0.0.0.0:5222"')
  assert.is(settings?.domain, 'home.example')
  assert.equal(settings?.listen, { clients: '0.0.0.0:5222' })
  assert.is(settings?.files, undefined)
  assert.is(settings?.s2s.proof, 'certificate')
})

test('takes a table with every key', () => {
  const settings = taken(`
    [xmpp]
    domain = "example.org"
    listen = "0.0.0.0:5222"
    listen_tls = "0.0.0.0:5223"
    listen_web = "0.0.0.0:5443"
    listen_s2s = "0.0.0.0:5269"
    listen_s2s_tls = "[::]:5270"
    cert = "/etc/ssl/example.org.pem"
    key = "/etc/ssl/example.org.key"
    abuse = ["mailto:abuse@example.org"]
    archive_days = 365
    shield = "require"
    [xmpp.upload]
    enabled = false
    file_max = "1MB"
    account_max = "2MB"
    day_max = "3MB"
    total_max = "4MB"
    days = 5
    [xmpp.s2s]
    proof = "dialback"
    dialback = ["old.example"]
    blocked = ["spam.example"]
    sealed = ["friends.example"]
    dns = ["127.0.0.1:5353"]
    ca = "/etc/ssl/our-ca.pem"
    [xmpp.s2s.routes]
    "b.example" = "192.0.2.7:5269"
    "c.example" = "tls://[2001:db8::7]:5270"
  `)
  assert.equal(settings, {
    domain: 'example.org',
    listen: {
      clients: '0.0.0.0:5222', clientsTls: '0.0.0.0:5223', web: '0.0.0.0:5443', servers: '0.0.0.0:5269',
      serversTls: '[::]:5270',
    },
    files: { cert: '/etc/ssl/example.org.pem', key: '/etc/ssl/example.org.key' },
    abuse: ['mailto:abuse@example.org'],
    archiveDays: 365,
    shield: 'require',
    upload: {
      enabled: false, fileBytesMax: 1_048_576, accountBytesMax: 2_097_152, dayBytesMax: 3_145_728,
      totalBytesMax: 4_194_304, keptDays: 5,
    },
    s2s: {
      proof: 'dialback', dialback: ['old.example'], blocked: ['spam.example'], sealed: ['friends.example'],
      dns: ['127.0.0.1:5353'],
      ca: '/etc/ssl/our-ca.pem',
      routes: { 'b.example': '192.0.2.7:5269', 'c.example': 'tls://[2001:db8::7]:5270' },
    },
  })
})

const domain = 'domain = "a.example"'
const unpaired = /xmpp\.cert must come together with xmpp\.key$/
const refused: readonly (readonly [string, string, RegExp])[] = [
  ['a shield that nobody finds', `${domain}\nshield = "require"`, /xmpp\.shield.*needs xmpp\.listen_web/],
  ['no domain', 'listen = "0.0.0.0:5222"', /domain/],
  ['a domain of one label', 'domain = "home"', /xmpp\.domain.*must be a domain/],
  ['a domain in capitals', 'domain = "A.example"', /xmpp\.domain.*must be a domain/],
  [
    'a certificate without its key',
    `${domain}\ncert = "a.pem"`,
    unpaired,
  ],
  [
    'a key without its certificate',
    `${domain}\nkey = "a.key"`,
    unpaired,
  ],
  ['a door without a port', `${domain}\nlisten = "0.0.0.0"`, /xmpp\.listen/],
  ['an unknown proof', `${domain}\n[xmpp.s2s]\nproof = "none"`, /must be "certificate" or "dialback"/],
  ['an abuse address of no kind', `${domain}\nabuse = ["me"]`, /must be a list of addresses/],
  ['a route without a port', `${domain}\n[xmpp.s2s.routes]\n"b.example" = "192.0.2.7"`, /HOST:PORT/],
]

for (const [what, table, pattern] of refused) {
  test(`refuses ${what}`, () => {
    assert.match(refusal(table), pattern)
    assert.match(refusal(table), /^CONFIG_VALUE /)
  })
}

test('a mistyped name is answered with the right one', () => {
  assert.match(refusal(`${domain}\nlisten_s2c = "0.0.0.0:1"`), /CONFIG_KEY_UNKNOWN .*xmpp\.listen_s2s/)
})

test.run()
