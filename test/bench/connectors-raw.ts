/**
 * What each transport can do by itself: messages with a 16-bit length over a bare socket, WebSocket,
 * HTTP/2 stream or datagrams of the system, written in batches of the size that our links write
 * (a whole Noise message; over UDP what fits a datagram). No encryption, no numbers, no
 * acknowledgement except what datagrams need not to overrun the receiver.
 */
import { createSocket } from 'node:dgram'
import type { Socket as UdpSocket } from 'node:dgram'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import type { Duplex } from 'node:stream'
import WebSocket, { WebSocketServer } from 'ws'
import { limits } from '../../protocol/limits.ts'

export const rawKinds = ['tcp', 'ws', 'http2', 'udp'] as const
export type RawKind = (typeof rawKinds)[number]

const headBytes = 2
const streamBatchBytes = limits.noiseMessageBytesMax
/** Datagrams under way; the receiver says so every few. */
const datagramsMax = 256
const datagramsPerAck = 16
/** After this much silence what was under way counts as lost. */
const lostMs = 20
const ackBytes = 1

/** One end: messages in order, batched; `send` settles when there is room. */
export class RawPipe {
  readonly #carrier: Carrier
  readonly #batch: Uint8Array
  #filled = 0
  #scheduled = false
  #rest = new Uint8Array(0)
  onMessage: (message: Uint8Array) => void = () => {}

  constructor(carrier: Carrier) {
    this.#carrier = carrier
    this.#batch = new Uint8Array(carrier.batchBytes)
    carrier.onBytes = (bytes) => this.#receive(bytes)
  }

  send(message: Uint8Array): Promise<void> | undefined {
    if (this.#filled + headBytes + message.length > this.#batch.length) this.#flush()
    this.#batch[this.#filled] = message.length >> 8
    this.#batch[this.#filled + 1] = message.length & 0xff
    this.#batch.set(message, this.#filled + headBytes)
    this.#filled += headBytes + message.length
    if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        this.#flush()
      })
    }
    return this.#carrier.hasRoom() ? undefined : this.#carrier.drained()
  }

  close(): void {
    this.#carrier.close()
  }

  #flush(): void {
    if (this.#filled === 0) return
    this.#carrier.write(this.#batch.slice(0, this.#filled))
    this.#filled = 0
  }

  #receive(chunk: Uint8Array): void {
    let bytes = chunk
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + chunk.length)
      bytes.set(this.#rest)
      bytes.set(chunk, this.#rest.length)
    }
    let at = 0
    while (at + headBytes <= bytes.length) {
      const end = at + headBytes + bytes[at]! * 256 + bytes[at + 1]!
      if (end > bytes.length) break
      this.onMessage(bytes.subarray(at + headBytes, end))
      at = end
    }
    this.#rest = bytes.slice(at)
  }
}

interface Carrier {
  readonly batchBytes: number
  onBytes: (bytes: Uint8Array) => void
  write(bytes: Uint8Array): void
  hasRoom(): boolean
  drained(): Promise<void>
  close(): void
}

class StreamCarrier implements Carrier {
  readonly batchBytes = streamBatchBytes
  readonly #stream: Duplex
  onBytes: (bytes: Uint8Array) => void = () => {}

  constructor(stream: Duplex) {
    this.#stream = stream.on('error', () => {}).on('data', (bytes: Uint8Array) => this.onBytes(bytes))
  }

  write(bytes: Uint8Array): void {
    this.#stream.write(bytes)
  }

  hasRoom(): boolean {
    return this.#stream.writableLength < limits.deviceLinkHighBytes
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#stream.once('drain', resolve))
  }

  close(): void {
    this.#stream.destroy()
  }
}

class WebSocketCarrier implements Carrier {
  readonly batchBytes = streamBatchBytes
  readonly #socket: WebSocket
  #waiting: (() => void)[] = []
  onBytes: (bytes: Uint8Array) => void = () => {}

  constructor(socket: WebSocket) {
    this.#socket = socket.on('error', () => {}).on('message', (data) => this.onBytes(data as Buffer))
  }

  write(bytes: Uint8Array): void {
    this.#socket.send(bytes, () => {
      if (this.hasRoom()) for (const go of this.#waiting.splice(0)) go()
    })
  }

  hasRoom(): boolean {
    return this.#socket.bufferedAmount < limits.deviceLinkHighBytes
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  close(): void {
    this.#socket.terminate()
  }
}

/** Datagrams of one batch each; one of a single byte says that some were taken. */
class DatagramCarrier implements Carrier {
  readonly batchBytes = limits.udpDatagramBytes
  readonly #send: (bytes: Uint8Array) => void
  readonly #close: () => void
  #underWay = 0
  #taken = 0
  #waiting: (() => void)[] = []
  onBytes: (bytes: Uint8Array) => void = () => {}

  constructor(send: (bytes: Uint8Array) => void, close: () => void) {
    this.#send = send
    this.#close = close
  }

  receive(bytes: Uint8Array): void {
    if (bytes.length === ackBytes) return this.#room(this.#underWay - datagramsPerAck)
    if (++this.#taken % datagramsPerAck === 0) this.#send(new Uint8Array(ackBytes))
    this.onBytes(bytes)
  }

  write(bytes: Uint8Array): void {
    this.#underWay++
    this.#send(bytes)
  }

  hasRoom(): boolean {
    return this.#underWay < datagramsMax
  }

  async drained(): Promise<void> {
    const patience = setTimeout(() => this.#room(0), lostMs)
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
    clearTimeout(patience)
  }

  close(): void {
    this.#close()
  }

  #room(underWay: number): void {
    this.#underWay = Math.max(0, underWay)
    if (this.hasRoom()) for (const go of this.#waiting.splice(0)) go()
  }
}

function udpSocket(): UdpSocket {
  const { udpSocketBytes } = limits
  return createSocket({ type: 'udp4', recvBufferSize: udpSocketBytes, sendBufferSize: udpSocketBytes })
}

/** Opens the bare door of a transport; gives its port. */
export async function listenRaw(kind: RawKind, accept: (pipe: RawPipe) => void): Promise<number> {
  if (kind === 'udp') return await listenDatagrams(accept)
  const server = {
    tcp: () => createServer({ noDelay: true }, (socket) => accept(new RawPipe(new StreamCarrier(socket)))),
    ws: () => {
      const http = createHttpServer()
      new WebSocketServer({ server: http, perMessageDeflate: false })
        .on('connection', (socket) => accept(new RawPipe(new WebSocketCarrier(socket))))
      return http
    },
    http2: () => createHttp2Server().on('stream', (stream) => {
      stream.respond({ ':status': 200 })
      accept(new RawPipe(new StreamCarrier(stream)))
    }),
  }[kind]() as Server
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return (server.address() as AddressInfo).port
}

async function listenDatagrams(accept: (pipe: RawPipe) => void): Promise<number> {
  const socket = udpSocket()
  const known = new Map<string, DatagramCarrier>()
  socket.on('message', (bytes, { address, port }) => {
    const key = `${address}:${port}`
    let carrier = known.get(key)
    if (carrier === undefined) {
      carrier = new DatagramCarrier((out) => socket.send(out, port, address), () => {})
      known.set(key, carrier)
      accept(new RawPipe(carrier))
    }
    carrier.receive(bytes)
  })
  await new Promise<void>((resolve) => { socket.bind(0, '127.0.0.1', resolve) })
  return socket.address().port
}

/** A bare connection. */
export async function dialRaw(kind: RawKind, port: number): Promise<RawPipe> {
  if (kind === 'tcp') {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    await new Promise((resolve) => { socket.once('connect', resolve) })
    return new RawPipe(new StreamCarrier(socket))
  }
  if (kind === 'ws') {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: false })
    await new Promise((resolve) => { socket.once('open', resolve) })
    return new RawPipe(new WebSocketCarrier(socket))
  }
  if (kind === 'http2') {
    const session = connectHttp2(`http://127.0.0.1:${port}`, {
      settings: { enablePush: false, initialWindowSize: limits.deviceLinkHighBytes },
    })
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false })
    await new Promise((resolve) => { stream.once('response', resolve) })
    return new RawPipe(new StreamCarrier(stream))
  }
  const socket = udpSocket()
  await new Promise<void>((resolve) => { socket.connect(port, '127.0.0.1', resolve) })
  const carrier = new DatagramCarrier((bytes) => socket.send(bytes), () => { socket.close() })
  socket.on('message', (bytes) => carrier.receive(bytes))
  return new RawPipe(carrier)
}
