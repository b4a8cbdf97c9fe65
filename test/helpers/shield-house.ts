/**
 * A domain with a shield over the memory overlay (client-actors.ts): its service account is a real
 * client, its mailbox and the shield's records lie in that client's store, so that a crash takes both as
 * they were. What web servers say of domains is the play's to say.
 */
import type { Along } from '../../bridges/xmpp/along.ts'
import { ClientCarrier } from '../../bridges/xmpp/shield/client-carrier.ts'
import type { Found, ShieldFinder } from '../../bridges/xmpp/shield/finder.ts'
import { MetadataShield } from '../../bridges/xmpp/shield/metadata-shield.ts'
import type { ShieldOptions } from '../../bridges/xmpp/shield/metadata-shield.ts'
import type { Offer } from '../../bridges/xmpp/shield/well-known.ts'
import { TrustedRoots } from '../../bridges/xmpp/s2s/certificate-path.ts'
import { S2sPolicy } from '../../bridges/xmpp/s2s/policy.ts'
import { el } from '../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../bridges/xmpp/xml/element.ts'
import { ns } from '../../bridges/xmpp/xml/names.ts'
import { readElement, writeElement } from '../../bridges/xmpp/xml/text.ts'
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { kvEntries } from '../../protocol/kv.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import { World } from './client-actors.ts'
import type { Person } from './client-actors.ts'

/** Web servers of all domains of a play. */
export class TestWeb implements ShieldFinder {
  readonly houses = new Map<string, ShieldHouse>()
  /** What a domain says instead; `unreachable`: somebody is in the way. */
  readonly lies = new Map<string, Found>()
  asked = 0

  async find(domain: string): Promise<Found> {
    this.asked++
    const house = this.houses.get(domain)
    const lie = this.lies.get(domain)
    if (lie !== undefined) return lie
    if (house === undefined) return { ok: false, why: 'absent', text: `${domain} does not speak of openIM` }
    const address = await house.address()
    return { ok: true, value: { domain, address, services: [`rooms.${domain}`], maxAgeMs: house.maxAgeMs } }
  }

  async offer(domain: string, offer: Offer): Promise<undefined> {
    this.houses.get(domain)!.offered(offer)
    return undefined
  }
}

/** The clock of one process. */
class LifeClock implements Clock {
  readonly #clock: Clock
  isOver = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#clock.after(delayMs, () => { if (!this.isOver) callback() })
  }
}

export class ShieldHouse {
  readonly domain: string
  readonly person: Person
  readonly #world: World
  readonly #web: TestWeb
  readonly #options: Partial<ShieldOptions>
  #life: LifeClock
  #shield: MetadataShield | undefined
  #mails = 0
  maxAgeMs = 30 * 86_400_000
  /** Went in the open. */
  readonly plain: XmlElement[] = []
  readonly bounced: XmlElement[] = []
  /** Presence and requests, which are not kept. */
  readonly heard: XmlElement[] = []
  readonly log: string[] = []

  private constructor(
    { world, web }: { world: World, web: TestWeb }, domain: string, person: Person,
    options: Partial<ShieldOptions>,
  ) {
    this.domain = domain
    this.person = person
    this.#world = world
    this.#web = web
    this.#options = options
    this.#life = new LifeClock(world.clock)
  }

  static async open(
    ground: { world: World, web: TestWeb }, domain: string,
    { person = domain, ...options }: Partial<ShieldOptions> & { readonly person?: string } = {},
  ): Promise<ShieldHouse> {
    const house = new ShieldHouse(ground, domain, await ground.world.person(person), options)
    ground.web.houses.set(domain, house)
    await ground.world.run(house.#begin())
    return house
  }

  get shield(): MetadataShield {
    return this.#shield!
  }

  async address(): Promise<string> {
    return (await this.person.client.info()).address
  }

  say(to: string, text: string): Promise<void> {
    const body = el(ns.client, 'body', {}, text)
    return this.shield.send(el(ns.client, 'message', { from: `me@${this.domain}`, to }, body))
  }

  send(name: string, attrs: Readonly<Record<string, string>>, ...children: XmlElement[]): Promise<void> {
    return this.shield.send(el(ns.client, name, { from: `me@${this.domain}/phone`, ...attrs }, ...children))
  }

  async mail(): Promise<XmlElement[]> {
    const found: XmlElement[] = []
    for await (const { value } of kvEntries(this.person.store.kv, 'mail/')) {
      found.push(readElement(utf8Decode(value))!)
    }
    return found
  }

  async texts(): Promise<string[]> {
    return (await this.mail()).map((message) => message.childText('body') ?? '')
  }

  offered(offer: Offer): void {
    this.shield.offered(offer)
  }

  crash(): void {
    this.#life.isOver = true
    this.person.crash()
  }

  async recover(): Promise<void> {
    this.#life = new LifeClock(this.#world.clock)
    await this.person.recover()
    await this.#begin()
  }

  async stop(): Promise<void> {
    await this.#shield?.stop()
  }

  async #begin(): Promise<void> {
    const { kv } = this.person.store
    const clock = this.#life
    const log = {
      info: (facts: object, message: string): void => {
        this.log.push(`${message} ${JSON.stringify(facts, (_, value: unknown) =>
          value instanceof Error ? value.message : value)}`)
      },
    }
    const carrier = new ClientCarrier({ client: this.person.client, clock, log }, await this.address())
    this.#shield = new MetadataShield({
      clock, random: systemRandom, kv, carrier, finder: this.#web,
      policy: new S2sPolicy({ clock, roots: new TrustedRoots([]) }),
      plain: { send: async (stanza) => { this.plain.push(stanza) }, isBusy: () => false },
      target: {
        fromRemote: (stanza, along) => this.#receive(stanza, along),
        bounced: async (stanza) => { this.bounced.push(stanza) },
      },
      domains: () => [this.domain, `rooms.${this.domain}`],
      log,
    }, { domain: this.domain, mode: 'prefer', ...this.#options })
    await this.#shield.start()
  }

  async #receive(stanza: XmlElement, along: Along | undefined): Promise<void> {
    if (stanza.name !== 'message') {
      this.heard.push(stanza)
      return
    }
    const key = `mail/${String(++this.#mails).padStart(8, '0')}`
    const batch = [{ type: 'put', key, value: utf8(writeElement(stanza)) }] as const
    await (along === undefined ? this.person.store.kv.write(batch) : along.write(batch))
  }
}
