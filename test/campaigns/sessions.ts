/**
 * A million messages through the session model (test/crypto/support/session-world.ts): loss,
 * reorder, doubles, crashes between every two steps, devices that go back to older disks, both
 * sides beginning at once. Every outcome is the one that the twin named before.
 */
import { soak } from '../crypto/support/session-soak.ts'
import type { Campaign } from './campaign.ts'

export const campaign: Campaign = {
  about: 'messages through sessions of many devices, against a twin without cryptography',
  options: { messages: 1_000_000, seed: 'sessions' },
  async run(context) {
    const begun = performance.now()
    const result = soak({
      seed: context.text('seed'), messages: context.number('messages'), say: context.say,
    })
    const seconds = (performance.now() - begun) / 1_000
    const { storedBytes, heldBytes, ...counts } = result
    const figures = Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ')
    context.say(`${figures}; largest stored session ${storedBytes} bytes, at most `
      + `${(heldBytes / 2 ** 20).toFixed(1)} MiB held; ${Math.round(counts.sent / seconds)} a second`)
    context.passed()
  },
}
