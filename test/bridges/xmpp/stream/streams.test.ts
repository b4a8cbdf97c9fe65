/**
 * Streams over real sockets, before anybody is logged in: what hostile ones send and what becomes of
 * it, who may come in and for how long, TLS in place, and WebSockets.
 */
import { EventEmitter, once } from 'node:events'
import { connect as connectPlain } from 'node:net'
import { createSecureContext } from 'node:tls'
import * as assert from 'uvu/assert'
import { WebSocket } from 'ws'
import { silentLog } from '../../../../node/ports.ts'
import { xmppLimits } from '../../../../bridges/xmpp/limits.ts'
import { SocketStream } from '../../../../bridges/xmpp/stream/socket-stream.ts'
import { StreamListener } from '../../../../bridges/xmpp/stream/stream-listener.ts'
import { Visits } from '../../../../bridges/xmpp/stream/visits.ts'
import { WebDoor } from '../../../../bridges/xmpp/stream/web-door.ts'
import type { XmlStream } from '../../../../bridges/xmpp/stream/xml-stream.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { suite } from '../../../helpers/harness.ts'
import { RawClient, streamHeader } from '../../../helpers/raw-xmpp-client.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'
import { TestCA } from '../../../helpers/xmpp-ca.ts'

const test = suite('bridges/xmpp/stream/streams')

const leaf = TestCA.create().issue({ dns: ['a.test'] })
const context = createSecureContext({ cert: leaf.fullChain, key: leaf.key })
const perAddressMax = 5
const clock = new VirtualClock()
const parts = { clock, log: silentLog, visits: new Visits(clock, { totalMax: 100, perAddressMax }) }
const listener = new StreamListener(parts, { name: 'xmpp', host: '127.0.0.1', port: 0 })
const door = new WebDoor(parts, {
  host: '127.0.0.1', port: 0, publicUrl: () => 'wss://a.test/xmpp-websocket',
})
const clients: RawClient[] = []
const ends = new EventEmitter()
let served: XmlStream | undefined
let live = 0

test.before(async () => {
  await listener.start(greet)
  await door.start(greet)
})

test.after.each(async () => {
  for (const client of clients.splice(0)) {
    client.drop()
    await client.end()
  }
  while (live > 0) await once(ends, 'end')
})

test.after(async () => {
  await listener.stop()
  await door.stop()
})

/** Says its header, gives each element back, and does TLS when it is asked to. */
function greet(stream: XmlStream): void {
  served = stream
  live++
  stream.listen({
    opened: () => { stream.open({ from: 'a.test', id: 'x', contentNs: ns.client }) },
    element: (element) => {
      if (element.name !== 'starttls') return stream.send(element)
      stream.send(el(ns.tls, 'proceed'))
      stream.startTls({ side: 'server', secureContext: () => context, requestCert: false })
    },
    closed: () => {
      live--
      ends.emit('end')
    },
  })
}

async function connected(): Promise<RawClient> {
  const socket = connectPlain(port(listener), '127.0.0.1')
  await once(socket, 'connect')
  const client = new RawClient(socket)
  clients.push(client)
  return client
}

function port(of: StreamListener | WebDoor): number {
  return Number(of.address()!.split(':')[1])
}

/** Numbered as the list of inputs that other servers were seen to answer, some of them wrongly. */
const hostile: readonly (readonly [string, string, string])[] = [
  ['1: a document type', `<!DOCTYPE a [<!ENTITY b "c">]>${streamHeader}`, 'restricted-xml'],
  ['2: a comment before the root', `<!-- a -->${streamHeader}`, 'restricted-xml'],
  ['3: a processing instruction', `${streamHeader}<?a b?>`, 'restricted-xml'],
  ['4: another namespace of the stream', streamHeader.replace('/streams', '/rivers'), 'invalid-namespace'],
  ['7: HTTP', 'GET / HTTP/1.1\r\nhost: a.test\r\n\r\n', 'not-well-formed'],
  ['7: TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003', 'not-well-formed'],
  ['8: an attribute of 1 MB', `${streamHeader}<a b='${'b'.repeat(1_000_000)}'/>`, 'policy-violation'],
  ['9: 10,000 nested elements', streamHeader + '<a>'.repeat(10_000), 'policy-violation'],
  ['17: an undeclared prefix', `${streamHeader}<a:b/>`, 'not-well-formed'],
  ['18: a stanza of 20 KB', `${streamHeader}<a>${'b'.repeat(20_000)}</a>`, 'policy-violation'],
]

for (const [what, text, condition] of hostile) {
  test(`${what} is answered with ${condition}, and the stream is over`, async () => {
    const beside = await connected()
    beside.say(streamHeader)
    await beside.hears('>')
    const client = await connected()
    client.say(text)
    const heard = await client.end()
    assert.match(heard, /^<\?xml version='1\.0'\?><stream:stream /)
    const error = `<stream:error><${condition} [^>]*>.*</stream:error></stream:stream>$`
    assert.match(heard, new RegExp(error, 's'))
    beside.say('<ping/>')
    await beside.hears('<ping/>')
  })
}

test('14: cuts who is not logged in after 30 seconds, whatever was sent meanwhile', async () => {
  const client = await connected()
  client.say(streamHeader)
  await client.hears('>')
  for (let i = 0; i < 29; i++) {
    client.say(' <ping/>')
    await client.hears('<ping/>')
    await clock.advance(1_000)
  }
  assert.not.ok(client.isClosed)
  await clock.advance(1_000)
  assert.match(await client.end(), /<connection-timeout /)
})

test('14: lets one address have so many connections and no more, until one ends', async () => {
  for (let i = 0; i < perAddressMax; i++) {
    const client = await connected()
    client.say(streamHeader)
    await client.hears('>')
  }
  assert.is(await (await connected()).end(), '')
  const ended = once(ends, 'end')
  clients[0]!.say('</stream:stream>')
  assert.match(await clients[0]!.end(), /<\/stream:stream>$/)
  await ended
  const next = await connected()
  next.say(streamHeader)
  await next.hears('>')
})

test('ends in order when the other end does, and cuts one that does not', async () => {
  const client = await connected()
  client.say(streamHeader)
  await client.hears('>')
  served!.close()
  await client.hears('</stream:stream>')
  assert.not.ok(client.isClosed)
  await clock.advance(xmppLimits.streamCloseMs)
  await client.end()
})

test('secures a stream in place, with a secret that both ends share', async () => {
  const socket = connectPlain(port(listener), '127.0.0.1')
  await once(socket, 'connect')
  const stream = new SocketStream({ socket, clock }, { side: 'client' })
  const header = { to: 'a.test', contentNs: ns.client }
  const echoed = await new Promise((resolve) => {
    stream.listen({
      opened: () => {
        stream.send(stream.tls === undefined ? el(ns.tls, 'starttls') : el(ns.client, 'ping'))
      },
      element: (element) => {
        if (element.name === 'proceed') stream.startTls({ side: 'client', serverName: 'a.test' })
        else resolve(element)
      },
      secured: () => { stream.open(header) },
      closed: resolve,
    })
    stream.open(header)
  })
  assert.equal(echoed, el(ns.client, 'ping'))
  assert.is(stream.transport, 'tls')
  assert.is(stream.tls!.protocol, 'TLSv1.3')
  assert.is(stream.tls!.exporter!.length, 32)
  assert.equal(served!.tls!.exporter, stream.tls!.exporter)
  assert.is(served!.tls!.serverName, 'a.test')
  stream.destroy()
})

test('carries a stream over a WebSocket, an element a message', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${port(door)}/xmpp-websocket`, 'xmpp')
  const heard: string[] = []
  socket.on('message', (data: Buffer) => { heard.push(data.toString()) })
  await once(socket, 'open')
  socket.send(`<open xmlns='${ns.framing}' to='a.test' version='1.0'/>`)
  socket.send(' ')
  socket.send(`<message xmlns='jabber:client'><body>hello</body></message>`)
  socket.send(`<!-- a --><message xmlns='jabber:client'/>`)
  await once(socket, 'close')
  assert.match(heard[0]!, /^<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' /)
  assert.is(heard[1], `<message xmlns='jabber:client'><body>hello</body></message>`)
  assert.match(heard[2]!, /restricted-xml/)
  assert.is(heard[3], `<close xmlns='${ns.framing}'/>`)
})

test('refuses a WebSocket of another path or subprotocol', async () => {
  for (const [path, protocol] of [['/', 'xmpp'], ['/xmpp-websocket', 'chat']] as const) {
    const socket = new WebSocket(`ws://127.0.0.1:${port(door)}${path}`, protocol)
    const [error] = await once(socket, 'error') as [Error]
    assert.match(error.message, /400/)
  }
})

test('says to pages of any origin where the WebSocket is (XEP-0156)', async () => {
  for (const name of ['host-meta', 'host-meta.json']) {
    const answer = await fetch(`http://127.0.0.1:${port(door)}/.well-known/${name}`)
    assert.is(answer.headers.get('access-control-allow-origin'), '*')
    assert.match(await answer.text(), /wss:\/\/a\.test\/xmpp-websocket/)
  }
})

test.run()
