/**
 * The fuzzer of XMPP streams at length; every case is shown again by
 * `npm run campaign -- xmpp-stream --first SEED --cases 1`.
 */
import { streamFuzzCase } from '../helpers/xmpp-stream-fuzz.ts'
import type { Campaign } from './campaign.ts'

const progressEvery = 20_000

export const campaign: Campaign = {
  about: 'XMPP streams, whole and damaged, in pieces of any size',
  options: { first: 0, cases: 100_000 },
  async run({ number, say, passed, failed }) {
    const first = number('first')
    for (let i = first; i < first + number('cases'); i++) {
      try {
        streamFuzzCase(`xmpp-stream ${i}`)
        passed()
      } catch (error) {
        failed(`--first ${i}: ${(error as Error).message.slice(0, 500)}`)
      }
      if (i > first && i % progressEvery === 0) say(`${i} cases`)
    }
  },
}
