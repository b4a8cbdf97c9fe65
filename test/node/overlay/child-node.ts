/** Starts and drives overlay-child.ts. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { NodeId } from '../../../protocol/ids.ts'
import type { ChildReport } from './overlay-child.ts'

const childPath = new URL('./overlay-child.ts', import.meta.url)

export class ChildNode {
  readonly nodeId: NodeId
  readonly address: string
  readonly #process: ChildProcess

  static async start(): Promise<ChildNode> {
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const
    const child = fork(childPath, { execArgv: ['--expose-gc'], stdio: [...stdio] })
    const [{ nodeId, addresses }] = await once(child, 'message') as [{ nodeId: NodeId, addresses: string[] }]
    return new ChildNode(child, { nodeId, address: addresses[0]! })
  }

  private constructor(child: ChildProcess, node: { nodeId: NodeId, address: string }) {
    this.#process = child
    this.nodeId = node.nodeId
    this.address = node.address
  }

  /** Answers nobody from now on, or answers all who waited. */
  async tell(command: 'hold' | 'release'): Promise<void> {
    const answer = once(this.#process, 'message')
    this.#process.send(command)
    await answer
  }

  async report(): Promise<ChildReport> {
    const answer = once(this.#process, 'message')
    this.#process.send('report')
    const [report] = await answer as [ChildReport]
    return report
  }

  freeze(): void {
    this.#process.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process.kill('SIGCONT')
  }

  async end(): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await ended
  }
}
