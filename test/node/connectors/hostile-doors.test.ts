/**
 * Strangers at the doors that are reached over TCP: garbage, silence, floods of connections, and
 * what only WebSocket or HTTP/2 can be made to suffer. Each ends for the stranger alone.
 */
import * as assert from 'uvu/assert'
import { connect as connectHttp2 } from 'node:http2'
import { get } from 'node:http'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { concat, utf8 } from '../../../crypto/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { socketDoors } from '../../compliance/socket-doors.ts'
import { turns } from '../../compliance/connector-world.ts'
import type { ConnectorCase } from '../../compliance/connector-world.ts'
import { DoorScene } from './door-scene.ts'

function doorCase(name: string): ConnectorCase {
  return socketDoors.find((door) => door.name === name)!
}

for (const transport of socketDoors) {
  const test = suite(`node/connectors/hostile/${transport.name}`)
  let scene: DoorScene
  test.before.each(async () => {
    scene = new DoorScene(transport)
    await scene.open()
  })
  test.after.each(() => scene.close())

  test('random bytes end a stranger and nobody else', async () => {
    const random = seededRandom(`garbage ${transport.name}`)
    const strangers = Array.from(
      { length: 20 },
      () => scene.stranger(random.bytes(1 + randomInteger(random, 2_000))),
    )
    await scene.until(() => strangers.every(({ closed }) => closed))
    await scene.stillWorks()
  })

  test('whoever says nothing, or drips bytes, is out after ten seconds', async () => {
    const silent = scene.stranger()
    const drip = scene.stranger(new Uint8Array([transport.transport === 'tcp' ? 0 : 0x47]))
    await scene.until(() => scene.counter('accepted') === 3)
    const startMs = scene.door.clock.monotonicMs()
    await scene.until(() => silent.closed && drip.closed)
    assert.ok(scene.door.clock.monotonicMs() - startMs <= limits.handshakeMs + 1_000)
    await scene.stillWorks()
  })

  test('a flood of connections from one address is cut by its rate, and counted', async () => {
    const strangers = Array.from({ length: limits.connectsPerAddressBurst + 50 }, () => scene.stranger())
    // Time stands still, so no allowance is added meanwhile.
    await turns(() => scene.counter('refusedRate') + scene.counter('refusedConnections') >= 50)
    assert.ok(scene.counter('accepted') <= limits.connectsPerAddressBurst)
    await scene.stillWorks()
    for (const { socket } of strangers) socket.destroy()
  })

  test.run()
}

// ── WebSocket ───────────────────────────────────────────────────────────────────────────────

const ws = suite('node/connectors/hostile/websocket')
let scene: DoorScene
ws.before.each(async () => {
  scene = new DoorScene(doorCase('ws'))
  await scene.open()
})
ws.after.each(() => scene.close())

async function webSocket(path = '/openim/1'): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${scene.port}${path}`, ['openim.1'])
  socket.on('error', () => {})
  await once(socket, 'open')
  return socket
}

async function isThrownOut(socket: WebSocket): Promise<void> {
  let closed = false
  socket.on('close', () => { closed = true })
  await scene.until(() => closed)
  assert.ok(scene.counter('abused') > 0 || scene.counter('handshakesFailed') > 0)
  await scene.stillWorks()
}

ws('text, a message too long, and one in too many pieces each end their connection', async () => {
  const text = await webSocket()
  text.send('hello')
  await isThrownOut(text)

  const long = await webSocket()
  long.send(new Uint8Array(limits.noiseMessageBytesMax + 1))
  await isThrownOut(long)

  const pieces = await webSocket()
  for (let i = 0; i < limits.webSocketFragmentsMax + 10; i++) pieces.send(new Uint8Array(1), { fin: false })
  await isThrownOut(pieces)
})

ws('a flood of pings is not answered for ever', async () => {
  const socket = await webSocket()
  let pongs = 0
  socket.on('pong', () => pongs++)
  for (let i = 0; i < 5_000; i++) socket.ping()
  await isThrownOut(socket)
  assert.ok(pongs <= limits.webSocketPingsBurst + limits.webSocketPingsPerSecond, `${pongs} pongs`)
})

ws('a compressed message is refused: nobody agreed on compression', async () => {
  const socket = await webSocket()
  // FIN, RSV1 (compressed), binary; masked with zeros; a deflate block.
  const frame = new Uint8Array([0xc2, 0x83, 0, 0, 0, 0, 0x01, 0x00, 0x00])
  ;(socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket.write(frame)
  await isThrownOut(socket)
})

ws('a request head without end is cut off', async () => {
  const head = utf8(`GET /openim/1 HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(2 * limits.doorHeaderBytesMax)}`)
  const stranger = scene.stranger(head)
  await scene.until(() => stranger.closed)
  await scene.stillWorks()
})

ws('another path is no door, and /healthz answers whoever watches', async () => {
  const stranger = scene.stranger(utf8([
    'GET /other HTTP/1.1', 'Host: x', 'Upgrade: websocket', 'Connection: Upgrade',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', 'Sec-WebSocket-Version: 13', '', '',
  ].join('\r\n')))
  await scene.until(() => stranger.closed)
  for (const [path, status] of [['/healthz', 200], ['/other', 404]] as const) {
    const request = get({ host: '127.0.0.1', port: scene.port, path, agent: false })
    const [response] = await once(request, 'response') as [{ statusCode: number, resume(): void }]
    response.resume()
    assert.is(response.statusCode, status)
  }
})

ws.run()

// ── HTTP/2 ──────────────────────────────────────────────────────────────────────────────────

const http2 = suite('node/connectors/hostile/http2')
http2.before.each(async () => {
  scene = new DoorScene(doorCase('http2'))
  await scene.open()
})
http2.after.each(() => scene.close())

const preface = utf8('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** RFC 9113 §4.1. */
function frame(type: number, options: { flags?: number, stream?: number, payload?: Uint8Array }): Uint8Array {
  const { flags = 0, stream = 0, payload = new Uint8Array(0) } = options
  const head = new Uint8Array(9)
  const view = new DataView(head.buffer)
  view.setUint32(0, payload.length << 8 | type)
  view.setUint8(4, flags)
  view.setUint32(5, stream)
  return concat(head, payload)
}
const frameTypes = { headers: 1, rstStream: 3, settings: 4, ping: 6, continuation: 9 } as const
const settings = frame(frameTypes.settings, {})
/** HPACK, literals without indexing: a POST to /openim/1. */
const postHead = concat(
  new Uint8Array([0x83, 0x86]),
  new Uint8Array([0x04, 9]), utf8('/openim/1'),
  new Uint8Array([0x01, 1]), utf8('x'),
)

http2('rapid reset ends the connection', async () => {
  const chunks = [preface, settings]
  for (let i = 0; i < 2_000; i++) {
    const stream = 2 * i + 1
    chunks.push(frame(frameTypes.headers, { flags: 0x4, stream, payload: postHead }))
    chunks.push(frame(frameTypes.rstStream, { stream, payload: new Uint8Array([0, 0, 0, 8]) }))
  }
  const stranger = scene.stranger(...chunks)
  await scene.until(() => stranger.closed)
  assert.ok(scene.counter('abused') > 0)
  await scene.stillWorks()
})

http2('headers without end are cut off, whatever follows them', async () => {
  const value = new Uint8Array(100).fill(0x62)
  const pair = concat(new Uint8Array([0x00, 1]), utf8('a'), new Uint8Array([100]), value)
  const chunks = [preface, settings, frame(frameTypes.headers, { stream: 1, payload: postHead })]
  for (let i = 0; i < 2_000; i++) chunks.push(frame(frameTypes.continuation, { stream: 1, payload: pair }))
  const stranger = scene.stranger(...chunks)
  await scene.until(() => stranger.closed)
  await scene.stillWorks()
})

http2('floods of settings and pings that nobody reads the answers of end the connection', async () => {
  for (const flood of [settings, frame(frameTypes.ping, { payload: new Uint8Array(8) })]) {
    const stranger = scene.stranger(preface, settings)
    stranger.socket.pause()
    for (let i = 0; i < 200; i++) stranger.socket.write(concat(...Array.from({ length: 1_000 }, () => flood)))
    stranger.socket.once('drain', () => stranger.socket.resume())
    await scene.until(() => stranger.closed)
    await scene.stillWorks()
  }
})

http2('another path is no door, and /healthz answers whoever watches', async () => {
  const session = connectHttp2(`http://127.0.0.1:${scene.port}`)
  for (const [path, status] of [['/healthz', 200], ['/other', 404]] as const) {
    const request = session.request({ ':path': path })
    const [headers] = await once(request, 'response') as [{ ':status': number }]
    assert.is(headers[':status'], status)
    request.resume()
    await once(request, 'close')
  }
  session.close()
  await once(session, 'close')
})

http2.run()
