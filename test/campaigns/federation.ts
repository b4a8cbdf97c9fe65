/**
 * Many seeds of the simulated federation (test/simulation/federation.ts): nodes crash and rejoin,
 * packets get lost, the network splits; nothing may be lost, doubled, out of order or untrue.
 */
import { runFederation } from '../simulation/federation.ts'
import type { Campaign } from './campaign.ts'

const minute = 60_000

export const campaign: Campaign = {
  about: 'seeds of a simulated federation with churn, loss and partitions',
  options: {
    from: 1, seeds: 50, nodes: 200, pairs: 12, messages: 20,
    loss: 0.01, churn: 0.3, partitions: 3, minutes: 40,
  },
  async run(context) {
    const from = context.number('from')
    for (let seed = from; seed < from + context.number('seeds'); seed++) {
      const result = await runFederation({
        seed,
        nodes: context.number('nodes'),
        pairs: context.number('pairs'),
        messages: context.number('messages'),
        lossRate: context.number('loss'),
        churn: context.number('churn'),
        partitions: context.number('partitions'),
        hectic: context.number('minutes') * minute,
      })
      const { sent, received, crashes, lost, doubled, disordered, untrue } = result
      const figures = `sent ${sent}, received ${received}, crashes ${crashes}, ` +
        `lost ${lost}, doubled ${doubled}, disordered ${disordered}, untrue ${untrue}`
      context.say(`seed ${seed}: ${figures}`)
      if (lost + doubled + disordered + untrue === 0) context.passed()
      else context.failed(`seed ${seed}: ${figures}`)
    }
  },
}
