/** Settings: what is taken, what is refused and where the refusal points. */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../crypto/errors.ts'
import {
  environmentSettings, isHostPort, isMultiaddr, mergeSettings, nodeConfig, parseConfig, parseSize,
} from '../../node/config.ts'
import { keyPath, locateKeys } from '../../node/toml-locate.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('node/config')

function refusal(text: string): string {
  try {
    parseConfig(text, 'config.toml')
  } catch (error) {
    assert.instance(error, OpenIMError)
    return `${(error as OpenIMError).code} ${(error as OpenIMError).message}`
  }
  throw new Error(`was taken: ${text}`)
}

test('takes a file with every key', () => {
  const settings = parseConfig(`
    name = "alice"
    profile = "server"
    [listen]
    p2p = ["/ip4/0.0.0.0/tcp/4481", "/ip6/::/tcp/4482/ws"]
    tcp = "127.0.0.1:0"
    udp = "127.0.0.1:0"
    ws = "0.0.0.0:4482"
    http2 = "[::1]:4483"
    trusted_proxies = ["192.0.2.1"]
    [tls]
    cert = "node.pem"
    key = "node.key"
    [p2p]
    bootstrap = ["/ip4/203.0.113.9/tcp/4481/p2p/12D3KooWJxbyGLW7sNqFQyLEXNdbjn37PBGaD2nMB331U5vqUZx8"]
    mdns = false
    [limits]
    held_for_others = "1.5GB"
    peers = 12
    [log]
    level = "debug"
  `, 'config.toml')
  const config = nodeConfig(settings)
  assert.is(config.name, 'alice')
  assert.is(config.profile, 'server')
  assert.equal(config.listen, {
    p2p: ['/ip4/0.0.0.0/tcp/4481', '/ip6/::/tcp/4482/ws'],
    tcp: '127.0.0.1:0',
    udp: '127.0.0.1:0',
    ws: '0.0.0.0:4482',
    http2: '[::1]:4483',
    trustedProxies: ['192.0.2.1'],
  })
  assert.equal(config.tls, { cert: 'node.pem', key: 'node.key' })
  assert.is(config.p2p.bootstrap.length, 1)
  assert.is(config.p2p.mdns, false)
  assert.equal(config.limits, { heldForOthersBytes: 1.5 * 1024 ** 3, peers: 12 })
  assert.is(config.log.level, 'debug')
})

test('needs nothing: an empty file gives the defaults of a home', () => {
  const config = nodeConfig(parseConfig('', 'config.toml'))
  assert.is(config.profile, 'home')
  assert.is(config.limits.peers, 64)
  assert.is(config.limits.heldForOthersBytes, 512 * 1024 ** 2)
  assert.ok(config.listen.p2p.includes('/ip4/0.0.0.0/tcp/4481'))
  assert.equal([config.listen.tcp, config.listen.udp], [undefined, undefined], 'ports that the node keeps')
})

test('takes a port for p2p, also 0', () => {
  assert.ok(parseConfig('[listen]\np2p = 0', 'c').listenP2p?.includes('/ip4/0.0.0.0/tcp/0'))
  assert.ok(parseConfig('listen.p2p = 4500', 'c').listenP2p?.includes('/ip4/0.0.0.0/tcp/4500'))
})

const refused: readonly (readonly [string, string, string])[] = [
  ['a misspelled key', '[listen]\nxmmp = 1\ntcpp = "a"',
    'CONFIG_KEY_UNKNOWN config.toml:2:1: listen.xmmp is not a setting'],
  ['a near miss, with the word that was meant', '[listen]\n  tpc = "a"',
    'CONFIG_KEY_UNKNOWN config.toml:2:3: listen.tpc is not a setting. Did you mean listen.tcp?'],
  ['a misspelled table', 'name = "a"\n[limts]\npeers = 1',
    'CONFIG_KEY_UNKNOWN config.toml:2:2: limts is not a setting. Did you mean limits?'],
  ['the right word in the wrong table', 'peers = 3',
    'CONFIG_KEY_UNKNOWN config.toml:1:1: peers is not a setting. Did you mean limits.peers?'],
  ['a key in an inline table', 'limits = { peers = 3, held = "1MB" }',
    'CONFIG_KEY_UNKNOWN config.toml:1:23: limits.held is not a setting'],
  ['a dotted key', '# first\nlog.levle = "warn"',
    'CONFIG_KEY_UNKNOWN config.toml:2:5: log.levle is not a setting. Did you mean log.level?'],
  ['__proto__', '__proto__ = 1', 'CONFIG_KEY_UNKNOWN config.toml:1:1: __proto__ is not a setting'],
  ['a wrong type', '[p2p]\nmdns = "yes"',
    'CONFIG_VALUE config.toml:2:1: p2p.mdns must be true or false, not "yes"'],
  ['a wrong choice', 'profile = "castle"',
    'CONFIG_VALUE config.toml:1:1: profile must be one of home, server, relay, not "castle"'],
  ['a value where a table belongs', 'listen = 4481',
    'CONFIG_VALUE config.toml:1:1: listen must be a table, not 4481'],
  ['a bad size', '[limits]\nheld_for_others = "lots"',
    'CONFIG_VALUE config.toml:2:1: limits.held_for_others must be a size such as "512MB", not "lots"'],
  ['a port that is none', '[listen]\np2p = 70000', 'CONFIG_VALUE config.toml:2:1: listen.p2p must be a port'],
  ['an address inside a list', '[p2p]\nbootstrap = [\n  "/ip4/1.2.3.4/tcp/1",\n  "example.org",\n]',
    'CONFIG_VALUE config.toml:4:3: p2p.bootstrap must be a multiaddr'],
  ['peers beyond the limit', '[limits]\npeers = 100000',
    'CONFIG_VALUE config.toml:2:1: limits.peers must be from 1 to'],
  ['an empty name', 'name = " "', 'CONFIG_VALUE config.toml:1:1: name must not be empty'],
  ['broken TOML', 'name = "a\nprofile = 1', 'CONFIG_SYNTAX config.toml:1:'],
  ['a key given twice', 'name = "a"\nname = "b"', 'CONFIG_SYNTAX config.toml:2:'],
]
for (const [what, text, expected] of refused) {
  test(`refuses ${what} and says where`, () => {
    const message = refusal(text)
    assert.is(message.slice(0, expected.length), expected)
    assert.not.match(message, '\n')
  })
}

test('finds keys past comments, strings and multi-line values that look like keys', () => {
  const text = `# peers = 1
name = """
peers = 2
"""  # ]
"quo\\u0074ed" = 'a # b'
list = [ # one
  1,
  [2, "]"], { a.b = 1 },
]
[[array.of.tables]]
x = 1
[ a . "b c" ]
peers = 3`
  const found = locateKeys(text)
  const at = (...path: (string | number)[]): string => {
    const position = found.get(keyPath(path))
    return position === undefined ? 'nowhere' : `${position.line}:${position.column}`
  }
  assert.is(at('peers'), 'nowhere')
  assert.is(at('name'), '2:1')
  assert.is(at('quoted'), '5:1')
  assert.is(at('list'), '6:1')
  assert.is(at('list', 1), '8:3')
  assert.is(at('list', '2', 'a', 'b'), '8:17')
  assert.is(at('array', 'of'), '10:9')
  assert.is(at('a', 'b c', 'peers'), '13:1')
})

test('never loops or throws on text that is no TOML', () => {
  const starts = [
    '[', '[[', 'a', 'a =', 'a = [', 'a = {', 'a = {b', '"', "'''", '=', ']', 'a = """\\', '[a].b = 1', '}',
  ]
  for (const start of starts) for (const end of starts) locateKeys(start + end)
})

test('flags win over the environment, which wins over the file', () => {
  const file = parseConfig('profile = "relay"\n[log]\nlevel = "error"\n[limits]\npeers = 9', 'c')
  const variables = { OPENIM_PROFILE: 'server', OPENIM_LOG_LEVEL: 'info', OPENIM_P2P_LISTEN: '' }
  const env = environmentSettings(variables)
  const config = nodeConfig(mergeSettings({ logLevel: 'debug' }, env, file))
  assert.is(config.log.level, 'debug')
  assert.is(config.profile, 'server')
  assert.is(config.limits.peers, 9)
})

test('reads lists and ports from the environment and names the variable that is wrong', () => {
  const env = environmentSettings({
    OPENIM_BOOTSTRAP: '/ip4/1.2.3.4/tcp/1, /dns4/example.org/tcp/2',
    OPENIM_P2P_LISTEN: '0',
  })
  assert.equal(env.bootstrap, ['/ip4/1.2.3.4/tcp/1', '/dns4/example.org/tcp/2'])
  assert.ok(env.listenP2p?.includes('/ip4/0.0.0.0/tcp/0'))
  const wrong = { OPENIM_TCP_LISTEN: 'here' }
  assert.throws(() => environmentSettings(wrong), /OPENIM_TCP_LISTEN must be "HOST:PORT"/)
})

const forms = [
  {
    what: 'hosts with ports',
    fits: isHostPort,
    right: ['127.0.0.1:0', '[::1]:4482', 'localhost:65535'],
    wrong: ['127.0.0.1', ':1', 'a:65536', '::1:1', '[127.0.0.1]:1'],
  },
  {
    what: 'the multiaddrs it can dial',
    fits: isMultiaddr,
    right: [
      '/ip4/1.2.3.4/tcp/4481', '/ip6/::1/tcp/0/ws', '/dns4/example.org/tcp/443/tls/ws',
      '/dnsaddr/example.org',
    ],
    wrong: [
      '', '/ip4/1.2.3/tcp/1', '/ip4/1.2.3.4', '/ip4/1.2.3.4/udp/1', '/ip6/1.2.3.4/tcp/1',
      '/ip4/1.2.3.4/tcp/99999', '/tcp/1',
    ],
  },
  {
    what: 'sizes',
    fits: (text: string) => parseSize(text) !== undefined,
    right: ['512MB', '1.5 gb', '77', '0'],
    wrong: ['', 'MB', '-1MB', '1e9', '1 PB', '1.2.3MB'],
  },
]
for (const { what, fits, right, wrong } of forms) {
  test(`knows ${what}`, () => {
    for (const text of right) assert.ok(fits(text), text)
    for (const text of wrong) assert.not.ok(fits(text), text)
  })
}

test('counts sizes in powers of 1,024', () => {
  assert.is(parseSize('512MB'), 512 * 1024 ** 2)
  assert.is(parseSize('1.5 gb'), 1.5 * 1024 ** 3)
})

test.run()
