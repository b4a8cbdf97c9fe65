/**
 * Random lives: two accounts with two or three devices each write, rename, verify, read, die, come
 * back, lose their sessions and their mail; devices are linked and put out. When it is over, all
 * devices of an account show the same, nothing twice and each sender's words in order.
 *
 * Words of a device that was put out are left aside: those that were on their way at that moment
 * reach whom they reach.
 */
import * as assert from 'uvu/assert'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { noFaults } from '../../helpers/client-network.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/client/devices-model', { timeoutMs: 100_000 })
const operations = Number(process.env['OPENIM_MODEL_OPERATIONS'] ?? 60)
const firstSeed = Number(process.env['OPENIM_MODEL_SEED'] ?? 1)
const seeds = Number(process.env['OPENIM_MODEL_SEEDS'] ?? 4)
const devicesMax = 3

interface Side {
  readonly contact: string
  readonly devices: Person[]
  /** What was written, by device; durable or not. */
  readonly written: Map<Person, string[]>
  linked: number
}

class Model {
  readonly world: World
  readonly sides: [Side, Side]
  readonly gone = new Set<Person>()
  readonly #draw: (below: number) => number
  #texts = 0

  private constructor(world: World, sides: [Side, Side], draw: (below: number) => number) {
    this.world = world
    this.sides = sides
    this.#draw = draw
  }

  static async begin(seed: number): Promise<Model> {
    const world = new World(`model ${seed}`)
    const random = seededRandom(`model ${seed}`)
    const [alice, bob] = await world.pair()
    const side = (device: Person, contact: string): Side =>
      ({ contact, devices: [device], written: new Map(), linked: 0 })
    const sides: [Side, Side] = [side(alice, 'Bob'), side(bob, 'Alice')]
    const model = new Model(world, sides, (below) => randomInteger(random, below))
    for (const one of model.sides) await model.#link(one)
    await world.clock.advance(5_000)
    return model
  }

  async step(): Promise<string> {
    const side = this.sides[this.#draw(2)]!
    const alive = side.devices.filter((device) => device.isAlive)
    const device = alive[this.#draw(Math.max(1, alive.length))]
    const dice = this.#draw(100)
    let what = 'nothing'
    if (dice < 50 && device !== undefined) {
      what = 'write'
      await this.#write(side, device)
    } else if (dice < 58 && device !== undefined) {
      what = 'die'
      device.crash()
    } else if (dice < 70) {
      what = 'come back'
      for (const dead of side.devices.filter((one) => !one.isAlive)) await this.world.run(dead.recover())
    } else if (dice < 76 && device !== undefined) {
      what = 'lose the session'
      device.session?.reset()
    } else if (dice < 82 && device !== undefined) {
      what = 'rename or verify'
      await this.#change(side, device)
    } else if (dice < 87 && device !== undefined) {
      what = 'read'
      const [last] = await device.client.history({ direction: 'in', reverse: true, limit: 1 })
      if (last !== undefined) await this.world.run(device.client.markRead(await nameOf(device), last.cursor))
    } else if (dice < 92) {
      what = 'faults'
      this.world.network.faults = this.#draw(2) === 0
        ? noFaults
        : { drop: 0.2, double: 0.2, shuffle: 0.3, resetEveryMs: 20_000 }
    } else if (dice < 96 && side.devices.length < devicesMax && side.devices[0]!.isAlive) {
      what = 'link'
      await this.#link(side)
    } else if (dice < 99 && side.devices.length > 2 && side.devices[0]!.isAlive) {
      what = 'put out'
      await this.#putOut(side)
    }
    await this.world.clock.advance(this.#draw(2_000))
    return what
  }

  async #write(side: Side, device: Person): Promise<void> {
    const text = `${this.#texts++} by ${device.name}`
    side.written.set(device, [...side.written.get(device) ?? [], text])
    await this.world.run(device.client.send(await nameOf(device), text))
  }

  async #change(side: Side, device: Person): Promise<void> {
    const name = await nameOf(device)
    const { client } = device
    if (this.#draw(2) === 0) await this.world.run(client.rename(name, `${side.contact} ${this.#draw(1_000)}`))
    else if (this.#draw(2) === 0) await this.world.run(client.markVerified(name))
    else await this.world.run(client.unverify(name))
  }

  async #link(side: Side): Promise<void> {
    const device = await this.world.device(side.devices[0]!, `${side.devices[0]!.name}${++side.linked}`)
    side.devices.push(device)
    const isReady = async (): Promise<boolean> => (await device.client.contacts())[0]?.state === 'active'
    await this.world.until(isReady, { withinMs: 900_000, stepMs: 500 })
  }

  async #putOut(side: Side): Promise<void> {
    const [device] = side.devices.splice(1 + this.#draw(side.devices.length - 1), 1)
    const devices = await side.devices[0]!.client.devices()
    const { id } = devices.find(({ name }) => name === device!.name)!
    await this.world.run(side.devices[0]!.client.removeDevice(id))
    this.gone.add(device!)
  }

  /** Everybody comes back, nothing goes wrong any more, and time passes until nothing is under way. */
  async settle(): Promise<void> {
    this.world.network.faults = noFaults
    for (const { devices } of this.sides) {
      for (const device of devices) {
        if (!device.isAlive) await this.world.run(device.recover())
        device.session?.reset()
      }
    }
    const isSame = async (): Promise<boolean> => {
      const views = await Promise.all(this.sides.map((_, i) => this.views(i)))
      const isAlike = (all: { sorted: string[] }[]): boolean =>
        new Set(all.map(({ sorted }) => sorted.join('\n'))).size === 1
      return views.every(isAlike) && (await this.texts(0)).join() === (await this.texts(1)).join()
    }
    await this.world.until(isSame, { withinMs: 3_600_000, stepMs: 10_000 })
    await this.world.clock.advance(60_000)
    assert.ok(await isSame(), 'and it stays so')
  }

  /** What each device of a side shows, without the words of those that are gone. */
  async views(of: number): Promise<{ shown: string[], sorted: string[] }[]> {
    const names = [...this.gone].map(({ name }) => name)
    return await Promise.all(this.sides[of]!.devices.map(async (device) => {
      const entries = await device.client.history({ limit: 1_000 })
      const shown = entries
        .filter(({ text, unreadable }) => unreadable === undefined && !names.includes(text.split(' by ')[1]!))
        .map(({ direction, text }) => `${direction} ${text}`)
      return { shown, sorted: [...shown].sort() }
    }))
  }

  /** What some devices of a side show and others do not, for people who look at a failure. */
  async differences(): Promise<string> {
    const lines: string[] = []
    for (const [i, side] of this.sides.entries()) {
      const views = await this.views(i)
      const all = [...new Set(views.flatMap(({ shown }) => shown))]
      for (const [k, { shown }] of views.entries()) {
        const missing = all.filter((line) => !shown.includes(line))
        const doubled = shown.filter((line, at) => shown.indexOf(line) !== at)
        lines.push(`${side.devices[k]!.name}: missing ${missing.join('; ')}, doubled ${doubled.join('; ')}`)
      }
    }
    const [a, b] = [await this.texts(0), await this.texts(1)]
    lines.push(`only at the first: ${a.filter((text) => !b.includes(text)).join('; ')}`)
    lines.push(`only at the second: ${b.filter((text) => !a.includes(text)).join('; ')}`)
    return lines.join('\n')
  }

  /** All texts that the first device of a side knows, whoever wrote them. */
  async texts(of: number): Promise<string[]> {
    const [first] = await this.views(of)
    return first!.sorted.map((line) => line.replace(/^(in|out) /, '')).sort()
  }
}

async function nameOf(device: Person): Promise<string> {
  return (await device.only()).name
}

/** The number that each text begins with grows for every sender. */
function isInOrder(shown: readonly string[], by: string): boolean {
  const numbers = shown
    .filter((line) => line.endsWith(` by ${by}`))
    .map((line) => Number(line.split(' ')[1]))
  return numbers.every((number, i) => i === 0 || number > numbers[i - 1]!)
}

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  test(`${operations} random operations leave all devices alike (seed ${seed})`, async () => {
    const model = await Model.begin(seed)
    const steps: string[] = []
    try {
      for (let i = 0; i < operations; i++) steps.push(await model.step())
      await model.settle()
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const story = `${why}\n${await model.differences()}\n${steps.join(', ')}`
      throw new Error(`seed ${seed}: ${story}`, { cause: error })
    }
    for (const [i, side] of model.sides.entries()) {
      const views = await model.views(i)
      const all = await model.texts(i)
      assert.is(new Set(all).size, all.length, 'nothing twice')
      for (const device of side.devices) {
        for (const text of side.written.get(device) ?? []) assert.ok(all.includes(text), `lost: ${text}`)
        for (const { shown } of views) {
          const theirs = shown.filter((line) => line.endsWith(` by ${device.name}`))
          assert.ok(isInOrder(shown, device.name), `order of ${device.name}: ${theirs.join(', ')}`)
        }
      }
      const faces = await Promise.all(side.devices.map(async (device) => {
        const { name, trust } = await device.only()
        return `${name} ${trust}`
      }))
      assert.is(new Set(faces).size, 1, faces.join())
    }
    await model.world.end()
  })
}

test.run()
