/**
 * The shield's place at the web door: says which account carries our stanzas, and takes offers of other
 * domains (well-known.ts). An offer is only taken note of here; what it says is checked afterwards.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { RateTable } from '../s2s/rate-table.ts'
import type { WebRoute } from '../stream/web-door.ts'
import { wellKnownPath } from './names.ts'
import { formatWellKnown, parseOffer } from './well-known.ts'
import type { Offer, WellKnown } from './well-known.ts'

export interface ShieldDoorParts {
  readonly clock: Clock
  /** `undefined`: the account is not hosted here at the moment. */
  wellKnown(): WellKnown | undefined
  offered(offer: Offer): void
}

export function shieldDoor({ clock, wellKnown, offered }: ShieldDoorParts): WebRoute {
  const { shieldOfferRate, shieldOfferBurst, shieldMissingKept } = xmppLimits
  const rates = new RateTable(clock, {
    perSecond: shieldOfferRate, burst: shieldOfferBurst, namesMax: shieldMissingKept,
  })
  const isFew = (...names: readonly string[]): boolean => names.every((name) => rates.take(name))
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const timer = clock.after(xmppLimits.shieldFindMs, () => request.destroy())
    try {
      const offer = parseOffer(await bodyOf(request))
      if (offer === undefined) end(response, 400)
      else if (!isFew(request.socket.remoteAddress ?? '', offer.domain)) end(response, 429)
      else {
        end(response, 202)
        offered(offer)
      }
    } finally {
      timer.cancel()
    }
  }
  return {
    prefix: wellKnownPath,
    handle(request, response) {
      const said = wellKnown()
      const [path] = (request.url ?? '').split('?', 1)
      if (path !== wellKnownPath) end(response, 404)
      else if (said === undefined) end(response, 503)
      else if (request.method === 'POST') take(request, response).catch(() => response.destroy())
      else if (request.method === 'GET' || request.method === 'HEAD') {
        end(response, 200, formatWellKnown(said))
      } else end(response, 405)
    },
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > xmppLimits.shieldAnswerBytesMax) throw new Error('the offer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function end(response: ServerResponse, status: number, text?: string): void {
  response.writeHead(status, {
    'x-content-type-options': 'nosniff', 'cache-control': 'no-store',
    ...text === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' },
  })
  response.end(text)
}
