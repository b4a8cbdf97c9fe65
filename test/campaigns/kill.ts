/**
 * Kill −9 in the middle of group commits, of our process and of the database server, on each
 * database: what was said to be durable must be there.
 *
 * ```text
 *   npm run campaign -- kill                            each of them
 *   npm run campaign -- kill --on redis --rounds 50     level, postgresql, mariadb or redis
 * ```
 */
import { killCampaign, killCampaignAt, killServerCampaign } from '../node/storage/kill-campaign.ts'
import type { CampaignResult } from '../node/storage/kill-campaign.ts'
import { sharedKinds } from '../node/storage/shared-kinds.ts'
import type { SharedKind } from '../node/storage/shared-kinds.ts'
import type { Campaign, CampaignContext } from './campaign.ts'

export const campaign: Campaign = {
  about: 'kill -9 of process and server during group commit, on each database',
  options: { on: 'all', rounds: 20, seed: 'kill' },
  async run(context) {
    const on = context.text('on')
    const given = { rounds: context.number('rounds'), seed: context.text('seed') }
    if (on === 'all' || on === 'level') {
      await report(context, 'level, its process', killCampaign(given.rounds, given.seed))
    }
    for (const kind of sharedKinds) {
      if (on !== 'all' && on !== kind.name.toLowerCase()) continue
      if (kind.isHere) await killBoth(context, kind, given)
      else context.failed(`${kind.name} is not installed`)
    }
  },
}

async function killBoth(
  context: CampaignContext,
  kind: SharedKind,
  given: { rounds: number, seed: string },
): Promise<void> {
  for (const whose of ['process', 'server'] as const) {
    const server = await kind.start()
    try {
      const place = kind.place(server)
      const running = whose === 'process'
        ? killCampaignAt(place, given) : killServerCampaign(server, place, given)
      await report(context, `${kind.name}, ${whose === 'process' ? 'our process' : 'the server'}`, running)
    } finally {
      await server.remove()
    }
  }
}

async function report(
  context: CampaignContext,
  what: string,
  running: Promise<CampaignResult>,
): Promise<void> {
  const rounds = context.number('rounds')
  try {
    const { put, acknowledged } = await running
    context.say(`${what}: killed ${rounds} times; ${put} said to be stored, `
      + `${acknowledged} of them acknowledged later; lost 0`)
    context.passed()
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : String(error)
    context.failed(`${what}, --seed ${context.text('seed')}: ${text}`)
  }
}
