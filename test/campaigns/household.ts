/**
 * A household of real processes on a real database (test/helpers/house-play.ts), long: every 20
 * seconds a process is killed and started again, the database twice in all.
 *
 * ```text
 *   npm run campaign -- household                    each database, one after the other
 *   npm run campaign -- household --on postgresql    or mariadb, redis
 * ```
 */
import { houseBases } from '../helpers/house-ground.ts'
import type { HouseBase } from '../helpers/house-ground.ts'
import { playHousehold } from '../helpers/house-play.ts'
import type { Campaign, CampaignContext } from './campaign.ts'

export const campaign: Campaign = {
  about: 'processes of a household and its database are killed under load',
  options: {
    on: 'all', seconds: 300, processes: 3, devices: 20, abroad: 4, rate: 1, every: 20, database: 2,
    drain: 120,
  },
  async run(context) {
    const on = context.text('on')
    for (const base of houseBases) {
      if (on !== 'all' && on !== base.name.toLowerCase()) continue
      if (base.isHere) await play(context, base)
      else context.failed(`${base.name} is not installed`)
    }
  },
}

async function play(context: CampaignContext, base: HouseBase): Promise<void> {
  const report = await playHousehold({
    base,
    seconds: context.number('seconds'),
    processes: context.number('processes'),
    devices: context.number('devices'),
    abroad: context.number('abroad'),
    perSecond: context.number('rate'),
    killEveryMs: context.number('every') * 1_000,
    databaseKills: context.number('database'),
    drainMs: context.number('drain') * 1_000,
    say: (line) => context.say(`${base.name}: ${line}`),
  })
  const { written, lost, doubled, disordered, kills, databaseKills, fallen, crossed, calm } = report
  const outcome = `${written} texts, ${kills} kills of a process, ${databaseKills} of the database: `
    + `lost ${lost}, doubled ${doubled}, lines out of order ${disordered}, `
    + `processes that ended by themselves ${fallen.length}`
  context.say(`${base.name}: from process to process, ${spread(crossed)}; calm, ${spread(calm)}`)
  for (const one of fallen) context.say(`${base.name}: ${one}`)
  if (lost + doubled + disordered + fallen.length > 0) context.failed(`${base.name}: ${outcome}`)
  else {
    context.say(`${base.name}: ${outcome}`)
    context.passed()
  }
}

function spread(ascending: readonly number[]): string {
  const at = (share: number): string =>
    (ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? 0).toFixed(0)
  return `${ascending.length} texts, median ${at(0.5)} ms, p99 ${at(0.99)} ms`
}
