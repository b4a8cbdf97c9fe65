/**
 * The network of nodes: what a link carries against a raw libp2p stream, what an idle peer costs,
 * how fast a location is found against the DHT's own GET, how fast the program starts. Floors and
 * targets of the ratios: docs/decisions and the notes in each file.
 */
import { lookupRows } from './overlay-lookup.ts'
import { startRows } from './overlay-start.ts'
import { idlePeerRow, transferRows } from './overlay-transfer.ts'
import type { Bench } from './bench.ts'

const idlePeers = 60

export const bench: Bench = {
  about: 'links, look-ups and start-up against bare libp2p and bare Node',
  async run({ say }) {
    say('forwarding envelopes between two processes …')
    const transfer = await transferRows()
    say(`holding ${idlePeers} idle peers …`)
    const idle = await idlePeerRow(idlePeers)
    say('looking up locations …')
    const lookup = await lookupRows()
    say('starting the program …')
    const start = await startRows()
    return [...transfer, idle, ...lookup, ...start]
  },
}
