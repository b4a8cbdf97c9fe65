/** Kill −9 of a process in the middle of group commits: what it called durable must be there. */
import { killCampaign } from '../node/storage/kill-campaign.ts'
import type { Campaign } from './campaign.ts'

export const campaign: Campaign = {
  about: 'kill -9 during group commit of the level store',
  options: { rounds: 20, seed: 'kill' },
  async run(context) {
    const rounds = context.number('rounds')
    const { put, acknowledged } = await killCampaign(rounds, context.text('seed'))
    context.say(`${rounds} kills: ${put} puts and ${acknowledged} acknowledgements were promised, all kept`)
    context.passed()
  },
}
