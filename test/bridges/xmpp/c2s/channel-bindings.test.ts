/**
 * Channel binding over real TLS: what a client computes of its end is what the server has of its own
 * (RFC 9266, RFC 5929), and somebody between the two, whose certificate the client takes, is noticed.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createSecureContext, createServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import * as assert from 'uvu/assert'
import { systemRandom } from '../../../../crypto/random.ts'
import { silentLog } from '../../../../node/ports.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { systemClock } from '../../../../protocol/system-clock.ts'
import { bindingsOf } from '../../../../bridges/xmpp/c2s/channel-bindings.ts'
import { XMPPConnector } from '../../../../bridges/xmpp/c2s/xmpp-connector.ts'
import { StreamListener } from '../../../../bridges/xmpp/stream/stream-listener.ts'
import { Visits } from '../../../../bridges/xmpp/stream/visits.ts'
import { suite } from '../../../helpers/harness.ts'
import { RawClient, streamHeader } from '../../../helpers/raw-xmpp-client.ts'
import { ScramClient } from '../../../helpers/scram-client.ts'
import { base64, fromBase64 } from '../../../helpers/scripted-stream.ts'
import { TestCA } from '../../../helpers/xmpp-ca.ts'
import { SmallHost } from '../../../helpers/xmpp-small-host.ts'

const test = suite('bridges/xmpp/c2s/channel-bindings')

const saslNs = 'urn:ietf:params:xml:ns:xmpp-sasl'
const ca = TestCA.create()
const leaf = ca.issue({ dns: ['a.test'] })
const context = createSecureContext({ cert: leaf.fullChain, key: leaf.key })
let connector: XMPPConnector
let port = 0
let password = ''

test.before(async () => {
  const visits = new Visits(systemClock, { totalMax: 100, perAddressMax: 100 })
  const door = new StreamListener({ clock: systemClock, log: silentLog, visits }, {
    name: 'xmpps', host: '127.0.0.1', port: 0,
    tls: { secureContext: () => context, alpn: 'xmpp-client', requestCert: false },
  })
  const host = new SmallHost(['alice'])
  connector = new XMPPConnector({
    clock: systemClock, random: systemRandom, kv: memoryKv(), log: silentLog, host,
    secureContext: () => context, doors: [door],
  }, { domain: 'a.test' })
  await connector.start()
  port = Number(door.address()!.split(':')[1])
  password = await connector.credentials.add(host.known('alice'), 'phone')
})

test.after(() => connector.stop())

type Binding = 'tls-exporter' | 'tls-server-end-point'

function ownBinding(socket: TLSSocket, type: Binding): Buffer {
  if (type === 'tls-server-end-point') {
    return createHash('sha256').update(socket.getPeerX509Certificate()!.raw).digest()
  }
  return socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0))
}

/** Logs in at a port with the client's own reading of its connection; the name of the outcome. */
async function login(
  at: number,
  { type, mechanism = 'SCRAM-SHA-256-PLUS', maxVersion = 'TLSv1.3' }: {
    type: Binding, mechanism?: string, maxVersion?: 'TLSv1.2' | 'TLSv1.3'
  },
): Promise<{ readonly outcome: string, readonly features: string }> {
  const socket = connect({ port: at, host: '127.0.0.1', servername: 'a.test', ca: ca.pem, maxVersion })
  await once(socket, 'secureConnect')
  const client = new RawClient(socket)
  client.say(streamHeader)
  const features = await client.hears('</stream:features>')
  const scram = new ScramClient({
    hash: mechanism.includes('256') ? 'sha256' : 'sha1', username: 'alice', password,
    flag: `p=${type}`, binding: ownBinding(socket, type),
  })
  client.say(`<auth xmlns='${saslNs}' mechanism='${mechanism}'>${base64(scram.first())}</auth>`)
  const answer = await client.hears(/<\/(?:challenge|failure)>/)
  const challenge = /<challenge[^>]*>([^<]*)</.exec(answer)?.[1]
  let outcome = answer
  if (challenge !== undefined) {
    client.say(`<response xmlns='${saslNs}'>${base64(scram.final(fromBase64(challenge)))}</response>`)
    outcome = await client.hears(/<\/(?:success|failure)>/)
  }
  client.drop()
  return { outcome: /<(success|not-authorized|[\w-]+ ?\/>)/.exec(outcome)?.[1] ?? outcome, features }
}

for (const mechanism of ['SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256-PLUS']) {
  for (const type of ['tls-exporter', 'tls-server-end-point'] as const) {
    test(`binds ${mechanism} to TLS 1.3 by ${type}`, async () => {
      assert.is((await login(port, { type, mechanism })).outcome, 'success')
    })
  }
}

test('offers the end point alone under TLS 1.2, and binds by it', async () => {
  const { outcome, features } = await login(port, { type: 'tls-server-end-point', maxVersion: 'TLSv1.2' })
  assert.is(outcome, 'success')
  assert.match(features, /tls-server-end-point/)
  assert.not.match(features, /tls-exporter/)
  assert.is((await login(port, { type: 'tls-exporter', maxVersion: 'TLSv1.2' })).outcome, 'not-authorized')
})

test('takes the binding that TLS 1.3 replaced where its value is known, and announces it never', () => {
  const facts = {
    protocol: 'TLSv1.3', exporter: Buffer.from('exporter'), endPoint: undefined, peerFinished: undefined,
    peerCertificate: undefined,
    authorizationError: undefined, serverName: undefined,
  }
  const { types, data } = bindingsOf({ ...facts, peerFinished: Buffer.from('finished') })
  assert.equal(types, ['tls-exporter'])
  assert.equal(data('tls-unique'), Buffer.from('finished'))
  assert.is(bindingsOf(facts).data('tls-unique'), undefined)
  assert.equal(bindingsOf(undefined).types, [])
})

test('notices somebody between, by either type, whose certificate the client takes', async () => {
  const other = ca.issue({ dns: ['a.test'] })
  const between = createServer({ cert: other.fullChain, key: other.key }, (near) => {
    const far = connect({ port, host: '127.0.0.1', servername: 'a.test', ca: ca.pem })
    near.pipe(far).pipe(near)
    near.on('error', () => far.destroy())
    far.on('error', () => near.destroy())
    near.on('close', () => far.destroy())
  })
  between.listen(0, '127.0.0.1')
  await once(between, 'listening')
  const { port: at } = between.address() as AddressInfo
  for (const type of ['tls-exporter', 'tls-server-end-point'] as const) {
    assert.is((await login(at, { type })).outcome, 'not-authorized', type)
  }
  between.close()
})

test.run()
