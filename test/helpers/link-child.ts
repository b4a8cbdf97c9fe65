/**
 * One end of a link as a program of its own, for tests and benchmarks over real networks: a door
 * (`node`), or a device that dials it, exchanges numbered messages, checks their order and says how
 * long it took.
 *
 * ```text
 *   link-child.ts node TRANSPORT HOST              → {"port"}, then until stdin ends; {"metrics"}
 *   link-child.ts device TRANSPORT HOST PORT COUNT BYTES DIRECTION
 *                                                  → {"ms", "received", "inOrder", "peerInOrder"}
 *   TRANSPORT  tcp | udp          DIRECTION  up | down | both, as the device sees it
 * ```
 */
import { crypto } from '../../crypto/index.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { TCPConnector } from '../../node/connectors/tcp-connector.ts'
import { TCPDialer } from '../../node/connectors/tcp-dialer.ts'
import { UDPConnector } from '../../node/connectors/udp-connector.ts'
import { UDPDialer } from '../../node/connectors/udp-dialer.ts'
import { silentLog } from '../../node/ports.ts'
import { limits } from '../../protocol/limits.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { systemClock } from '../../protocol/system-clock.ts'

const doorKey = crypto.dhKeyPair(crypto.sha256(utf8('door of link-child')))
const system = { clock: systemClock, random: systemRandom, log: silentLog }

interface Order {
  readonly count: number
  readonly bytes: number
  readonly up: boolean
  readonly down: boolean
}

const [role, transport, host = '127.0.0.1', ...rest] = process.argv.slice(2)

async function runNode(): Promise<void> {
  const Door = transport === 'udp' ? UDPConnector : TCPConnector
  const door = new Door({ ...system, doorKey }, { host, port: 0 })
  await door.start(({ link }) => serve(link))
  tell({ port: Number(door.address()!.split(':').at(-1)) })
  process.stdin.resume().on('end', async () => {
    tell({ metrics: door.metrics() })
    await door.stop()
  })
}

/** The first message is the order; the answer to all that came up is one byte: in order or not. */
function serve(link: MessageLink): void {
  let order: Order | undefined
  const incoming = new Sequence()
  let pump = (): void => {}
  link.listen({
    message(message) {
      if (order === undefined) {
        order = JSON.parse(new TextDecoder().decode(message)) as Order
        if (order.down) pump = pumpOver(link, order)
        pump()
      } else {
        incoming.take(message)
        if (incoming.received === order.count) link.send(new Uint8Array([incoming.inOrder ? 1 : 0]))
      }
    },
    drain: () => pump(),
    closed: () => {},
  })
}

async function runDevice(): Promise<void> {
  const [port, count, bytes, direction] = rest
  const order: Order = {
    count: Number(count), bytes: Number(bytes), up: direction !== 'down', down: direction !== 'up',
  }
  const Dialer = transport === 'udp' ? UDPDialer : TCPDialer
  const dialer = new Dialer(system, {
    host, port: Number(port), doorKey: doorKey.publicKey, own: crypto.dhKeyPair(systemRandom.bytes(32)),
  })
  const link = await dialer.dial(new AbortController().signal)
  const incoming = new Sequence()
  const startMs = systemClock.monotonicMs()
  let pump = (): void => {}
  let peerInOrder = !order.up
  let peerDone = !order.up
  const finished = Promise.withResolvers<string>()
  link.listen({
    message(message) {
      if (message.length === 1) {
        peerDone = true
        peerInOrder = message[0] === 1
      } else {
        incoming.take(message)
      }
      if (peerDone && (!order.down || incoming.received === order.count)) finished.resolve('done')
    },
    drain: () => pump(),
    closed: (code) => finished.resolve(code),
  })
  link.send(utf8(JSON.stringify(order)))
  if (order.up) pump = pumpOver(link, order)
  pump()
  const ended = await finished.promise
  const ms = systemClock.monotonicMs() - startMs
  tell({ ms, ended, received: incoming.received, inOrder: incoming.inOrder, peerInOrder })
  link.close('TEST_DONE')
}

/** Sends numbered messages as a well-behaved sender, each time as far as the link takes them. */
function pumpOver(link: MessageLink, { count, bytes }: Order): () => void {
  let sent = 0
  return () => {
    while (sent < count && link.bufferedBytes < limits.deviceLinkHighBytes) {
      const message = new Uint8Array(Math.max(bytes, 4))
      new DataView(message.buffer).setUint32(0, sent++)
      link.send(message)
    }
  }
}

class Sequence {
  received = 0
  inOrder = true

  take(message: Uint8Array): void {
    const number = new DataView(message.buffer, message.byteOffset).getUint32(0)
    if (number !== this.received) this.inOrder = false
    this.received++
  }
}

function tell(result: object): void {
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

if (role === 'node') await runNode()
else await runDevice()
