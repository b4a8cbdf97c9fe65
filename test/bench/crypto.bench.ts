/**
 * End-to-end encryption: primitives of each backend, then whole sessions and handshakes against
 * libsignal, all as ratios of one run. Sessions of both sides persist every change.
 */
import { crypto } from '../../crypto/index.ts'
import type { Bench } from './bench.ts'
import { primitiveFigures } from './crypto-primitives.ts'
import { handshakeRows, messageRows, sizeRows } from './crypto-sessions.ts'

export const bench: Bench = {
  about: 'primitives of each backend; sessions and handshakes against libsignal, with persistence',
  async run({ say }) {
    await crypto.warmUp()
    const messages = await messageRows(say)
    const handshakes = await handshakeRows(say)
    say('primitives …')
    const primitives = await primitiveFigures()
    return [...messages, ...handshakes, ...sizeRows(), ...primitives]
  },
}
