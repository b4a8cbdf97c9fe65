/**
 * A story that is told again and again with one process dying at another of its writes: devices are
 * linked to Alice's account while she and her contacts talk, everybody recovers, and in the end all
 * devices show the same. Until the cut every telling is the same, so the writes of a telling without
 * a cut are all the places where one can be.
 *
 * A word whose `send` settled well must be everywhere; one that its device took to its grave may be
 * everywhere or nowhere.
 */
import * as assert from 'uvu/assert'
import { Person, World } from './client-actors.ts'
import { noFaults } from './client-network.ts'
import type { Faults } from './client-network.ts'

export interface Cast {
  readonly seed: string
  /** Linked one after the other. */
  readonly devices: readonly string[]
  readonly contacts: readonly string[]
  /** What else goes wrong until everybody recovers. */
  readonly faults?: Faults
}

export interface Cut {
  readonly victim: string
  /** Its write that is the last one, from 1. */
  readonly at: number
}

const linkTriesMax = 3

export class CrashStory {
  readonly world: World
  /** Writes until the end of the story, by name. */
  readonly writes = new Map<string, number>()
  isCut = false
  readonly #cut: Cut | undefined
  readonly #cast: Cast
  readonly #contacts: Person[] = []
  /** Alice's, the primary first. */
  readonly #devices: Person[] = []
  /** Said, and promised to be kept. */
  readonly #sworn: string[] = []
  readonly #said: string[] = []

  private constructor(cast: Cast, cut: Cut | undefined) {
    this.world = new World(cast.seed)
    this.#cast = cast
    this.#cut = cut
  }

  static async tell(cast: Cast, cut?: Cut): Promise<CrashStory> {
    const story = new CrashStory(cast, cut)
    await story.#begin()
    for (const name of cast.devices) await story.#link(name)
    await story.#talk('then')
    await story.world.clock.advance(1_500)
    await story.#recover()
    await story.#talk('at last')
    await story.#settle()
    await story.world.end()
    return story
  }

  async #begin(): Promise<void> {
    const alice = await this.world.person('Alice')
    this.#devices.push(alice)
    for (const name of this.#cast.contacts) {
      const contact = await this.world.person(name)
      this.#contacts.push(contact)
      await this.world.meet(alice, contact)
    }
    await this.#talk('at first')
    // Some of it is still on its way.
    await this.world.clock.advance(40)
    for (const person of this.world.people) this.#watch(person)
    this.world.network.faults = this.#cast.faults ?? noFaults
  }

  #watch(person: Person): void {
    const { name } = person
    person.beforeWrite = () => {
      const count = (this.writes.get(name) ?? 0) + 1
      this.writes.set(name, count)
      if (name !== this.#cut?.victim || count !== this.#cut.at) return
      this.isCut = true
      // The write itself may still make it.
      queueMicrotask(() => person.crash())
    }
  }

  /** As people would: when it fails they link anew, with a device that knows nothing. */
  async #link(name: string): Promise<void> {
    const [alice] = this.#devices as [Person]
    for (let tries = 0; tries < linkTriesMax; tries++) {
      if (!alice.isAlive) await this.world.run(alice.recover())
      const device = new Person(this.world, name, alice.node)
      this.#watch(device)
      await this.world.run(device.beginLinked(alice.client).catch(() => {}))
      // It has an account, though it may have died in its first moments.
      if (await device.store.kv.get('account').catch(() => undefined) !== undefined) {
        this.#devices.push(device)
        this.world.people.push(device)
        break
      }
    }
    for (const waitMs of [90, 350, 800]) {
      await this.world.clock.advance(waitMs)
      await this.#talk(`${name} ${waitMs}`)
    }
  }

  /** Everybody who is there says a word to everybody. */
  async #talk(when: string): Promise<void> {
    for (const person of [...this.#contacts, ...this.#devices]) {
      const contacts = person.isAlive ? await person.client.contacts().catch(() => []) : []
      for (const { name, state } of contacts) {
        if (state !== 'active') continue
        const text = `${when}: ${person.name} to ${name}`
        this.#said.push(text)
        void person.client.send(name, text).then(() => this.#sworn.push(text), () => {})
      }
    }
  }

  async #recover(): Promise<void> {
    this.world.network.faults = noFaults
    for (const person of this.world.people) {
      person.beforeWrite = () => {}
      if (!person.isAlive) await this.world.run(person.recover())
    }
  }

  async #settle(): Promise<void> {
    await this.world.until(async () => await this.#difference() === '', { withinMs: 400_000, stepMs: 2_000 })
      .catch(async (error: unknown) => {
        throw new Error(`${await this.#difference()}\n${await this.#views()}`, { cause: error })
      })
    await this.world.clock.advance(60_000)
    assert.is(await this.#difference(), '', 'and it stays so')
  }

  /** What is not as it should be, or nothing. */
  async #difference(): Promise<string> {
    const [alice, ...others] = await Promise.all(this.#devices.map(seen)) as [string[], ...string[][]]
    for (const [i, view] of [alice, ...others].entries()) {
      const { name } = this.#devices[i]!
      const lost = this.#sworn.find((text) => !view.some((line) => line.endsWith(text)))
      if (lost !== undefined) return `${name} has not "${lost}"`
      if (new Set(view).size !== view.length) return `${name} shows something twice`
      if (view.join() !== alice.join()) return `${name} does not show what Alice shows`
    }
    for (const contact of this.#contacts) {
      const view = await seen(contact)
      const mirrored = alice.filter((line) => line.includes(contact.name)).map(mirror).sort()
      if (view.join() !== mirrored.join()) return `${contact.name} does not show what Alice shows`
    }
    return ''
  }

  async #views(): Promise<string> {
    const people = [...this.#devices, ...this.#contacts]
    const views = await Promise.all(people.map(seen))
    return this.#said.map((text) => {
      const count = (view: readonly string[]): number => view.filter((line) => line.endsWith(text)).length
      return `${views.map(count).join(' ')}  ${text}${this.#sworn.includes(text) ? '' : ' (not sworn)'}`
    }).join('\n')
  }
}

/** Tells the story with a cut at each write of the victim, or some of them. Gives how many there were. */
export async function cutEverywhere(
  cast: Cast,
  victim: string,
  { step, first }: { step: number, first: number } = { step: 1, first: 1 },
): Promise<number> {
  const whole = await CrashStory.tell(cast)
  let cuts = 0
  for (let at = first; at <= (whole.writes.get(victim) ?? 0); at += step) {
    try {
      const { isCut } = await CrashStory.tell(cast, { victim, at })
      assert.ok(isCut, 'the writes before a cut are always the same')
      cuts++
    } catch (error) {
      throw new Error(`${victim} died at write ${at}: ${error instanceof Error ? error.message : error}`,
        { cause: error })
    }
  }
  return cuts
}

/** Sorted; what could not be read is asked for again and is no word. */
async function seen(person: Person): Promise<string[]> {
  const entries = await person.client.history({ limit: 1_000 })
  return entries
    .filter(({ unreadable }) => unreadable === undefined)
    .map(({ direction, text }) => `${direction} ${text}`)
    .sort()
}

function mirror(line: string): string {
  return line.startsWith('in ') ? `out ${line.slice(3)}` : `in ${line.slice(4)}`
}
