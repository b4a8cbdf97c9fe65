/** Programs in Python that tests run: settings are JSON on their input, what they tell on their output. */
import { spawn } from 'node:child_process'
import * as assert from 'uvu/assert'

export interface PythonRun {
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

export async function runPython(
  python: string, args: readonly string[], settings: object = {},
): Promise<PythonRun> {
  const child = spawn(python, ['-B', ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  let [output, errors] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { errors += text })
  child.stdin.end(JSON.stringify(settings))
  const code = await new Promise<number | null>((resolve) => { child.once('close', resolve) })
  return { code, output, errors }
}

/** Runs to the end and gives what it told. */
export async function toldByPython(
  python: string, args: readonly string[], settings: object = {},
): Promise<Record<string, unknown>> {
  const { code, output, errors } = await runPython(python, args, settings)
  assert.is(code, 0, errors)
  return JSON.parse(output) as Record<string, unknown>
}
