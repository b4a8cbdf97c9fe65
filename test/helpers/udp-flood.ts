/**
 * Somebody who floods a UDP door with first messages of devices that do not exist, as a program of
 * its own: from many addresses of loopback, each counted byte for byte like a capture would.
 *
 * ```text
 *   udp-flood.ts PORT COUNT DOORKEY(hex)  → {"sent", "answered", "worstRatio", "bytesOut", "bytesIn"}
 * ```
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { crypto } from '../../crypto/index.ts'
import { hexDecode } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { UdpInitiator } from '../../protocol/session/udp/udp-initiator.ts'
import { systemClock } from '../../protocol/system-clock.ts'

const [port, count, doorKey] = process.argv.slice(2)
const sourcesCount = 250
/** What the kernel drops no door has to bear: so much may be unanswered before it waits a moment. */
const aheadMax = 200
const patienceMs = 20

interface Source {
  readonly socket: Socket
  sent: number
  received: number
  answers: number
}

/** A real initiation: whoever has the node's public key can make one. */
function initiation(): Uint8Array {
  let first: Uint8Array | undefined
  const keys = { own: crypto.dhKeyPair(systemRandom.bytes(32)), nodeKey: hexDecode(doorKey!) }
  const initiator = new UdpInitiator({ clock: systemClock, random: systemRandom }, keys, {
    send: (datagram) => { first ??= datagram },
    initiated: () => {},
  })
  initiator.start()
  initiator.stop()
  return first!
}

const sources: Source[] = []
const sum = (of: (source: Source) => number): number =>
  sources.reduce((total, source) => total + of(source), 0)

/** Gives up on answers that do not come. */
let lostAnswers = 0
async function answersCome(): Promise<void> {
  const startMs = systemClock.monotonicMs()
  const ahead = (): number => sum(({ sent, answers }) => sent / 1_200 - answers) - lostAnswers
  while (ahead() > aheadMax) {
    await setImmediate()
    if (systemClock.monotonicMs() - startMs > patienceMs) lostAnswers += ahead()
  }
}

for (let i = 0; i < sourcesCount; i++) {
  const source: Source = { socket: createSocket('udp4'), sent: 0, received: 0, answers: 0 }
  source.socket.on('message', (message) => {
    source.received += message.length
    source.answers++
  })
  await new Promise<void>((resolve) => { source.socket.bind(0, `127.77.${i % 250}.${1 + (i % 7)}`, resolve) })
  sources.push(source)
}
const initiations = Array.from({ length: 100 }, initiation)
for (let i = 0; i < Number(count); i++) {
  const source = sources[i % sources.length]!
  const datagram = initiations[i % initiations.length]!
  source.sent += datagram.length
  source.socket.send(datagram, Number(port), '127.0.0.1')
  if (i % 20 === 0) await answersCome()
}
await setTimeout(1_000)
process.stdout.write(`${JSON.stringify({
  sent: Number(count),
  answered: sum(({ answers }) => answers),
  worstRatio: Math.max(...sources.map(({ sent, received }) => received / sent)),
  bytesOut: sum(({ sent }) => sent),
  bytesIn: sum(({ received }) => received),
})}\n`)
for (const { socket } of sources) socket.close()
