/**
 * An account at our domain while it is in use: its roster, its resources, and the order in which
 * messages reach them.
 */
import type { Jid } from '../jid.ts'
import type { Resource } from './resource.ts'
import type { Roster } from './roster.ts'

export interface AccountComponents {
  /** Names its records: 16 hex digits, stays when the address changes. */
  readonly id: string
  /** Bare. */
  readonly jid: Jid
  readonly roster: Roster
}

export class Account {
  readonly id: string
  readonly jid: Jid
  readonly roster: Roster
  readonly #resources = new Map<string, Resource>()
  #deliveries: Promise<unknown> = Promise.resolve()
  /** Of these, how many are still to come. */
  #waiting = 0

  constructor({ id, jid, roster }: AccountComponents) {
    this.id = id
    this.jid = jid
    this.roster = roster
  }

  /** In the order they were bound. */
  get resources(): readonly Resource[] {
    return [...this.#resources.values()]
  }

  get size(): number {
    return this.#resources.size
  }

  resource(name: string): Resource | undefined {
    return this.#resources.get(name)
  }

  available(): Resource[] {
    return this.resources.filter(({ isAvailable }) => isAvailable)
  }

  interested(): Resource[] {
    return this.resources.filter(({ isInterested }) => isInterested)
  }

  add(resource: Resource): void {
    this.#resources.set(resource.resource, resource)
  }

  /** Only this very one: its name may have been taken over. */
  remove(resource: Resource): void {
    if (this.#resources.get(resource.resource) === resource) this.#resources.delete(resource.resource)
  }

  /**
   * Runs `deliver` once `written` settled, and after everything that was handed over before, so that
   * what waits for the disk is not overtaken by what does not. Rejects as `written` does, and then
   * delivers nothing. Nothing to wait for (`undefined`, and none before): at once.
   */
  inOrder<T>(written: Promise<unknown> | undefined, deliver: () => T): Promise<T> {
    // Runs before it returns, and rejects where `deliver` throws.
    if (written === undefined && this.#waiting === 0) return (async () => deliver())()
    const earlier = this.#deliveries
    this.#waiting++
    const done = (async () => {
      try {
        await written
      } finally {
        await earlier
      }
      return deliver()
    })()
    const settled = (): void => { this.#waiting-- }
    this.#deliveries = done.then(settled, settled)
    return done
  }
}
