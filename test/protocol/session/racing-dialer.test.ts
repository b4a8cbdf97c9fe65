/** Several ways to one node (protocol/session/racing-dialer.ts). */
import * as assert from 'uvu/assert'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { loopbackPair } from '../../../node/connectors/loopback-connector.ts'
import { limits } from '../../../protocol/limits.ts'
import type { MessageLink } from '../../../protocol/ports.ts'
import { RacingDialer } from '../../../protocol/session/racing-dialer.ts'
import type { Way } from '../../../protocol/session/racing-dialer.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('protocol/session/racing-dialer')

let clock: VirtualClock
let dialled: string[]
let givenUp: string[]
let links: Map<string, MessageLink>
test.before.each(() => {
  clock = new VirtualClock()
  dialled = []
  givenUp = []
  links = new Map()
})

/** A way that opens after `ms`, or fails with `code`. */
function way(name: string, ms: number, code?: string): Way {
  return {
    name,
    dialer: {
      dial: (signal) => new Promise((resolve, reject) => {
        dialled.push(`${name}@${clock.monotonicMs()}`)
        const timer = clock.after(ms, () => {
          if (code !== undefined) return reject(new OpenIMError(code, 'no'))
          const [link] = loopbackPair(clock)
          links.set(name, link)
          resolve(link)
        })
        signal.addEventListener('abort', () => {
          if (links.has(name)) return
          timer.cancel()
          givenUp.push(name)
          reject(new OpenIMError('LINK_UNREACHABLE', 'given up'))
        })
      }),
    },
  }
}

async function dial(dialer: RacingDialer, signal = new AbortController().signal): Promise<string> {
  let result: string | undefined
  dialer.dial(signal).then(
    (link) => { result = [...links].find(([, known]) => known === link)![0] },
    (error: unknown) => { result = `${errorCode(error)}: ${(error as Error).message}` },
  )
  while (result === undefined) await clock.advance(10)
  return result
}

test('the first way that works is taken; others are not even begun', async () => {
  const dialer = new RacingDialer({ clock }, [way('a', 50), way('b', 10)])
  assert.is(await dial(dialer), 'a')
  assert.equal(dialled, ['a@0'])
})

test('the next way begins when one takes long, and the slow one is given up', async () => {
  const dialer = new RacingDialer({ clock }, [way('a', 5_000), way('b', 100)])
  assert.is(await dial(dialer), 'b')
  assert.equal(dialled, ['a@0', `b@${limits.dialStaggerMs}`])
  assert.equal(givenUp, ['a'])
})

test('the next way begins at once when one fails', async () => {
  const dialer = new RacingDialer({ clock }, [way('a', 20, 'LINK_UNREACHABLE'), way('b', 100)])
  assert.is(await dial(dialer), 'b')
  assert.equal(dialled, ['a@0', 'b@20'])
})

test('what worked last goes first next time', async () => {
  const dialer = new RacingDialer({ clock }, [way('a', 20, 'LINK_UNREACHABLE'), way('b', 100)])
  await dial(dialer)
  assert.is(dialer.preferred, 'b')
  dialled = []
  assert.is(await dial(dialer), 'b')
  assert.is(dialled.length, 1)
})

test('says of each way why it failed, with the code that they share', async () => {
  const some = [way('a', 10, 'LINK_UNREACHABLE'), way('b', 10, 'CHANNEL_REFUSED')]
  const lost = new RacingDialer({ clock }, some)
  assert.is(await dial(lost),
    'LINK_UNREACHABLE: no way to the node: a (LINK_UNREACHABLE), b (CHANNEL_REFUSED)')
  const both = [way('a', 10, 'CHANNEL_REFUSED'), way('b', 10, 'CHANNEL_REFUSED')]
  const refused = new RacingDialer({ clock }, both)
  assert.match(await dial(refused), /^CHANNEL_REFUSED/)
})

test('gives everything up when its signal aborts', async () => {
  const abort = new AbortController()
  clock.after(300, () => abort.abort())
  const dialer = new RacingDialer({ clock }, [way('a', 5_000), way('b', 5_000), way('c', 5_000)])
  assert.match(await dial(dialer, abort.signal), /^LINK_UNREACHABLE/)
  assert.equal(givenUp.sort(), ['a', 'b'])
  assert.is(clock.pending, 0)
})

test('of two links that open at once one is closed again', async () => {
  const dialer = new RacingDialer({ clock }, [way('a', 300), way('b', 50)])
  const first = await dial(dialer)
  await clock.advance(1_000)
  assert.is(links.size, first === 'a' && !links.has('b') ? 1 : links.size)
  for (const [name, link] of links) {
    let closed: string | undefined
    link.listen({ message: () => {}, drain: () => {}, closed: (code) => { closed = code } })
    await clock.advance(10)
    assert.is(closed, name === first ? undefined : 'LINK_NOT_NEEDED')
  }
})

test.run()
