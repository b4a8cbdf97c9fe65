/**
 * Asks the authoritative server of a domain whether a key is its own (XEP-0220 §2.3), over a stream
 * opened for this one question: so an answer can belong to no other.
 */
import type { DialbackPair } from './dialback.ts'
import { S2sDialer } from './dialer.ts'
import { OutboundStream } from './outbound-stream.ts'
import type { OutboundComponents } from './outbound-stream.ts'
import type { S2sResolver } from './resolver.ts'

export async function askAuthority(
  components: OutboundComponents & { readonly resolver: S2sResolver },
  pair: DialbackPair,
  key: string,
): Promise<'valid' | 'invalid' | 'no-answer'> {
  const { clock, resolver, secureContext } = components
  const { originating: theirs, receiving: ours } = pair
  const resolution = await resolver.resolve(theirs)
  if (!resolution.ok) return 'no-answer'
  const { signal } = new AbortController()
  const dialer = new S2sDialer(clock, resolution.targets, { domain: theirs, secureContext, signal })
  for (;;) {
    const dialled = await dialer.next()
    if (dialled === undefined) return 'no-answer'
    const { promise, resolve } = Promise.withResolvers<'valid' | 'invalid' | 'no-answer'>()
    new OutboundStream(components, { ...dialled, ours, theirs, purpose: { to: 'verify', pair, key } }, {
      ready() {},
      verdict: (isValid) => resolve(isValid ? 'valid' : 'invalid'),
      ended: () => resolve('no-answer'),
    })
    const outcome = await promise
    if (outcome !== 'no-answer') return outcome
  }
}
