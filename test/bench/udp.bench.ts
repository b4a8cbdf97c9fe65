/**
 * UDP links against TCP links on the same bad path, both ends as programs of their own on hosts of
 * the kernel's making (test/helpers/two-hosts.ts): the same messages, the same encryption, only the
 * transport differs. TCP is the kernel's, with CUBIC.
 */
import { transfer } from '../helpers/link-transfer.ts'
import type { Transfer } from '../helpers/link-transfer.ts'
import { TwoHosts } from '../helpers/two-hosts.ts'
import { compare, interleaved } from './bench.ts'
import type { Bench, BenchRow } from './bench.ts'

const megabitsPerSecond = 20
const bytes = 10_000
/** Where every fifth packet is lost the kernel may not even find out who has the address. */
const triesMax = 3

export const bench: Bench = {
  about: 'UDP links against TCP links on a path that loses packets (needs root)',
  async run({ say }) {
    const missing = TwoHosts.unavailable()
    if (missing !== undefined) throw new Error(missing)
    const rows: BenchRow[] = []
    for (const { lossRate, messages, rounds, bounds } of [
      { lossRate: 0, messages: 400, rounds: 3, bounds: { floor: 0.5, target: 0.9 } },
      { lossRate: 0.01, messages: 300, rounds: 3, bounds: {} },
      { lossRate: 0.05, messages: 200, rounds: 5, bounds: { floor: 0.7, target: 1 } },
      { lossRate: 0.2, messages: 30, rounds: 3, bounds: {} },
    ]) {
      say(`${lossRate * 100} % lost, ${rounds + 1} transfers of ${(messages * bytes) / 1e6} MB each …`)
      const once = async (transport: 'tcp' | 'udp'): Promise<Transfer> => {
        const hosts = new TwoHosts({ lossRate, megabitsPerSecond, tcpCongestion: 'cubic' })
        try {
          return await transfer(hosts, { transport, messages, bytes, direction: 'down' })
        } finally {
          hosts.remove()
        }
      }
      const measure = (transport: 'tcp' | 'udp') => async (): Promise<number> => {
        for (let tries = 1; ; tries++) {
          const done = await once(transport)
          if (done.inOrder) return done.megabitsPerSecond
          if (tries === triesMax) throw new Error(`${transport}: ${done.ended}, not all came in order`)
        }
      }
      const sides = await interleaved({ rounds, sides: { udp: measure('udp'), tcp: measure('tcp') } })
      rows.push({
        figure: `node to device, ${lossRate * 100} % lost of ${megabitsPerSecond} Mbit/s`,
        unit: 'Mbit/s',
        better: 'higher',
        ...bounds,
        ...compare(sides, 'udp', { against: 'tcp', name: 'TCP' }),
      })
    }
    return rows
  },
}
