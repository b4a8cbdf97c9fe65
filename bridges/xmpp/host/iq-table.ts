/**
 * Who answers which request: the XEPs of `../xeps/` register here, at the account's or the server's
 * side, and what they offer is what service discovery lists (XEP-0030).
 */
import type { IqHandler } from '../ports.ts'

/**
 * `server`: sent to the domain. `account`: sent to a bare JID, by its owner (also without any `to`)
 * or by others; the handler decides who may.
 */
export type IqTarget = 'server' | 'account'

export interface IqRoute {
  readonly target: IqTarget
  readonly ns: string
  /** Local name of the payload; absent: any. */
  readonly name?: string
  /** Absent: both. */
  readonly type?: 'get' | 'set'
  readonly handle: IqHandler
}

export interface Identity {
  readonly category: string
  readonly type: string
  readonly name?: string
}

export class IqTable {
  readonly #routes = new Map<string, IqRoute>()
  readonly #features: Record<IqTarget, Set<string>> = { server: new Set(), account: new Set() }

  add(route: IqRoute): void {
    const types = route.type === undefined ? ['get', 'set'] as const : [route.type]
    for (const type of types) {
      this.#routes.set(`${route.target} ${type} ${route.ns} ${route.name ?? '*'}`, route)
    }
  }

  find(
    target: IqTarget,
    { type, ns, name }: { readonly type: 'get' | 'set', readonly ns: string, readonly name: string },
  ): IqRoute | undefined {
    const key = `${target} ${type} ${ns}`
    return this.#routes.get(`${key} ${name}`) ?? this.#routes.get(`${key} *`)
  }

  addFeatures(target: IqTarget, ...features: readonly string[]): void {
    for (const feature of features) this.#features[target].add(feature)
  }

  /** Sorted. */
  features(target: IqTarget): string[] {
    return [...this.#features[target]].sort()
  }
}
