/**
 * A node's call to itself: straight to the handler, with the same results as over a link. Two
 * people of one household talk through the same node.
 */
import { errorCode } from '../../crypto/errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import type { CallOptions, Log } from '../ports.ts'
import type { CallResult } from './link-calls.ts'
import type { ServiceTable } from './link-service.ts'

export function callLocally(
  components: { clock: Clock, log: Log },
  services: ServiceTable,
  call: { from: NodeId, service: ServiceCode, body: Uint8Array, options: CallOptions },
): Promise<CallResult> {
  const { from, service, body, options } = call
  const handler = services.get(service)
  if (handler === undefined) {
    return Promise.resolve({ ok: false, code: 'SERVICE_UNKNOWN', detail: `no service ${service} here` })
  }
  return new Promise((resolve) => {
    const giveUp = (): void => end({ ok: false, code: 'OVERLAY_TIMEOUT' })
    const timer = components.clock.after(options.timeoutMs, giveUp)
    const end = (result: CallResult): void => {
      timer.cancel()
      options.signal?.removeEventListener('abort', giveUp)
      resolve(result)
    }
    options.signal?.addEventListener('abort', giveUp)
    if (options.signal?.aborted === true) {
      giveUp()
      return
    }
    // Later, as over a network: nobody relies on a handler that ran before `call` returned.
    Promise.resolve().then(() => handler(from, body)).then(end, (error: unknown) => {
      const code = errorCode(error)
      components.log.error({ service, code, error: String(error) }, 'a service handler failed')
      end({ ok: false, code: 'SERVICE_FAILED' })
    })
  })
}
