/** Stands in for test/helpers/harness.ts inside a page: registers tests, and runs them one by one. */

interface PageTest {
  readonly name: string
  readonly handler: () => void | Promise<void>
}

const tests: PageTest[] = []
const beforeEach: (() => void | Promise<void>)[] = []

/** Enough of a `Suite` for the compliance suites. */
export function suite(): unknown {
  const register = (name: string, handler: PageTest['handler']): void => { tests.push({ name, handler }) }
  const before = { each: (handler: PageTest['handler']): void => { beforeEach.push(handler) } }
  return Object.assign(register, { before, run: () => {} })
}

/** What failed, and the names of all. */
export async function runAll(): Promise<{ names: string[], failures: string[] }> {
  const failures: string[] = []
  for (const { name, handler } of tests) {
    try {
      for (const each of beforeEach) await each()
      await handler()
    } catch (error) {
      failures.push(`${name}: ${(error as Error).stack ?? String(error)}`)
    }
  }
  return { names: tests.map(({ name }) => name), failures }
}
