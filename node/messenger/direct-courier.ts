/**
 * The courier of privacy level 0: straight over the overlay, or not at all when it is ourselves.
 *
 * Higher levels (relay, onion, mix) take the same call; until they exist every message goes at
 * level 0, and says so.
 */
import type { Result } from '../../crypto/errors.ts'
import type { PrivacyLevel } from '../../protocol/frame/submit.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import type { CallOptions, Courier, Overlay } from '../ports.ts'

export class DirectCourier implements Courier {
  readonly #overlay: Overlay

  constructor(components: { overlay: Overlay }) {
    this.#overlay = components.overlay
  }

  async call(
    to: NodeId,
    service: ServiceCode,
    body: Uint8Array,
    options: CallOptions & { readonly level: PrivacyLevel },
  ): Promise<Result<Uint8Array> & { readonly level: PrivacyLevel }> {
    return { ...await this.#overlay.call(to, service, body, options), level: 0 }
  }
}
