/**
 * The device that never stays (test/helpers/hopping-play.ts), long: another transport and another
 * address every second while its home node is killed; both histories are what was written.
 */
import { playHopping } from '../helpers/hopping-play.ts'
import type { Told } from '../helpers/hopping-play.ts'
import type { Campaign } from './campaign.ts'

export const campaign: Campaign = {
  about: 'a device hops between transports and addresses while its home node is killed',
  options: { messages: 10_000, rate: 200, kills: 3, drain: 300 },
  async run(context) {
    const report = await playHopping({
      count: context.number('messages'),
      perSecond: context.number('rate'),
      kills: context.number('kills'),
      drainMs: context.number('drain') * 1_000,
      say: context.say,
    })
    const { hops, links, addresses, seconds } = report
    const opened = Object.entries(links).map(([transport, count]) => `${count} ${transport}`).join(', ')
    context.say(`${hops} hops over ${addresses} addresses, links ${opened}; ${seconds.toFixed(1)} s in all`)
    for (const way of ['up', 'down'] as const) {
      const faults = faultsOf(report[way])
      const { perSecond, sent } = report[way]
      const outcome = faults ?? 'each once and in order'
      context.say(`${way}: ${sent.length} texts at ${perSecond.toFixed(0)}/s, ${outcome}`)
      if (faults === undefined) context.passed()
      else context.failed(`${way}: ${faults}`)
    }
  },
}

/** Undefined when all is well. */
function faultsOf({ sent, received, written, undelivered }: Told): string | undefined {
  const got = new Set(received)
  const lost = sent.filter((text) => !got.has(text)).length
  const doubled = received.length - got.size
  const disordered = sent.some((text, i) => received[i] !== text) ? 1 : 0
  const unwritten = sent.some((text, i) => written[i] !== text) ? 1 : 0
  if (lost + doubled + disordered + unwritten + undelivered === 0) return undefined
  return `lost ${lost}, doubled ${doubled}, out of order ${disordered}, ` +
    `wrong in the writer's history ${unwritten}, not shown as delivered ${undelivered}`
}
