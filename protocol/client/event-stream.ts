/**
 * Events as an async iterable: `for await (const event of client.events())`. What comes while the
 * loop is at work waits, up to a bound; a loop that falls behind further is told so and ends, since
 * silently leaving events out would be worse: what is true can be asked for again (`history`,
 * `status`).
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { Fifo } from '../fifo.ts'
import { limits } from '../limits.ts'

/** Ends with the loop, when `signal` aborts, or with EVENTS_TOO_MANY when the loop falls behind. */
export async function* eventStream<E>(
  on: (listener: (event: E) => void) => () => void,
  signal?: AbortSignal,
): AsyncGenerator<E, void, undefined> {
  const waiting = new Fifo<E>()
  let isOver = signal?.aborted === true
  let isTooMuch = false
  let wake = (): void => {}
  const end = (): void => {
    isOver = true
    wake()
  }
  const unsubscribe = on((event) => {
    if (waiting.length < limits.eventsWaitingMax) waiting.push(event)
    else isTooMuch = true
    wake()
  })
  signal?.addEventListener('abort', end)
  try {
    for (;;) {
      const event = waiting.shift()
      if (event !== undefined) yield event
      else if (isTooMuch) throw tooMuch()
      else if (isOver) return
      else await new Promise<void>((resolve) => { wake = resolve })
    }
  } finally {
    unsubscribe()
    signal?.removeEventListener('abort', end)
  }
}

function tooMuch(): OpenIMError {
  return new OpenIMError('EVENTS_TOO_MANY',
    `more than ${limits.eventsWaitingMax} events wait: take them faster, or ask for the history`)
}
