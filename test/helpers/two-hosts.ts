/**
 * Two network namespaces joined by a real, bad link: what packets meet on the way, with the kernel's
 * own stacks at both ends. Needs root, and `ip` and `tc` of iproute2.
 *
 * Loss is a classic BPF program on each end's way out, which drops by the kernel's random numbers;
 * the rate is a token bucket with a queue (tc-tbf(8)). There is no added delay: not every kernel
 * has netem, and round trips of a full queue are several milliseconds.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'

export type Side = 'node' | 'device'

export interface TwoHostsOptions {
  /** Each way, 0 to 1. */
  readonly lossRate: number
  readonly megabitsPerSecond: number
  readonly queueMs?: number
  /** What the kernel's TCP does; some machines default to BBR, which does not back off at a loss. */
  readonly tcpCongestion?: string
}

let created = 0

export class TwoHosts {
  readonly #names: Readonly<Record<Side, string>>
  readonly #congestion: string | undefined

  /** Why there can be none on this machine; undefined when there can. */
  static unavailable(): string | undefined {
    const isRoot = process.platform === 'linux' && process.getuid?.() === 0
    if (!isRoot) return 'network namespaces need root on Linux'
    try {
      new TwoHosts({ lossRate: 0.01, megabitsPerSecond: 10 }).remove()
      return undefined
    } catch (error) {
      return `iproute2 or the kernel cannot do it: ${(error as Error).message}`
    }
  }

  constructor(options: TwoHostsOptions) {
    const tag = `oim${process.pid}-${++created}`
    this.#names = { node: `${tag}n`, device: `${tag}d` }
    this.#congestion = options.tcpCongestion
    try {
      this.#build(options)
    } catch (error) {
      this.remove()
      throw error
    }
  }

  /** What the node listens on. */
  readonly nodeAddress = '10.77.0.1'

  /** The device's address from now on; the old one is gone. */
  moveDevice(last: number): void {
    run('ip', '-n', this.#names.device, 'address', 'flush', 'dev', 'link0')
    run('ip', '-n', this.#names.device, 'address', 'add', `10.77.0.${last}/24`, 'dev', 'link0')
    this.#steer('device')
  }

  /** A program of this checkout on one of the hosts, with pipes. */
  node(side: Side, script: string, ...args: readonly string[]): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.#names[side], process.execPath, script, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
  }

  /** Reads what a child prints, line by line as JSON. */
  static reader(child: ChildProcess): () => Promise<Record<string, unknown>> {
    const lines: string[] = []
    const waiting: ((line: string) => void)[] = []
    let rest = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop()!
      for (const line of parts) (waiting.shift() ?? ((one) => lines.push(one)))(line)
    })
    child.once('close', () => { for (const next of waiting.splice(0)) next('{"ended":"process"}') })
    return async () => {
      const line = lines.shift() ?? await new Promise<string>((resolve) => { waiting.push(resolve) })
      return JSON.parse(line) as Record<string, unknown>
    }
  }

  remove(): void {
    for (const name of Object.values(this.#names)) spawnSync('ip', ['netns', 'delete', name])
  }

  #build({ lossRate, megabitsPerSecond, queueMs = 50 }: TwoHostsOptions): void {
    const { node, device } = this.#names
    run('ip', 'netns', 'add', node)
    run('ip', 'netns', 'add', device)
    run('ip', 'link', 'add', 'link0', 'netns', node, 'type', 'veth', 'peer', 'name', 'link0', 'netns', device)
    for (const [side, address] of [['node', this.nodeAddress], ['device', '10.77.0.2']] as const) {
      const name = this.#names[side]
      run('ip', '-n', name, 'link', 'set', 'lo', 'up')
      run('ip', '-n', name, 'address', 'add', `${address}/24`, 'dev', 'link0')
      run('ip', '-n', name, 'link', 'set', 'link0', 'up')
      this.#steer(side)
      // What the host saves by joining packets would lose and delay many as one.
      run('ip', '-n', name, 'link', 'set', 'link0', 'gso_max_segs', '1')
      run('tc', '-n', name, 'qdisc', 'add', 'dev', 'link0', 'root', 'tbf', 'rate', `${megabitsPerSecond}mbit`,
        'burst', '16k', 'latency', `${queueMs}ms`)
      run('tc', '-n', name, 'qdisc', 'add', 'dev', 'link0', 'clsact')
      run('tc', '-n', name, 'filter', 'add', 'dev', 'link0', 'egress', 'bpf', 'da',
        'bytecode', lossProgram(lossRate))
    }
  }

  #steer(side: Side): void {
    if (this.#congestion === undefined) return
    run('ip', '-n', this.#names[side], 'route', 'replace', '10.77.0.0/24', 'dev', 'link0',
      'congctl', this.#congestion)
  }
}

/** load a random word; pass (TC_ACT_OK) if it is at least the threshold, else drop (TC_ACT_SHOT). */
function lossProgram(rate: number): string {
  const randomWord = 0xffff_f000 + 56
  const threshold = Math.min(2 ** 32 - 1, Math.floor(rate * 2 ** 32))
  return `4,32 0 0 ${randomWord},53 0 1 ${threshold},6 0 0 0,6 0 0 2`
}

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`)
}
