// A room's conditions: the faults of its network, and the layer before it. The server keeps them, for one room only.

const PATIENCE = 5_000;

const address = (room, query = {}) => `rooms/${encodeURIComponent(room)}?${new URLSearchParams(query)}`;

/** The room's conditions and counters, or null if nobody is in it. */
export async function readRoom(room, peer) {
  const response = await fetch(address(room, { peer }), { signal: AbortSignal.timeout(PATIENCE) });
  return response.ok ? response.json() : null;
}

export async function changeRoom(room, conditions) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(address(room), { method: "PUT", headers, body: JSON.stringify(conditions) });
  if (!response.ok) throw new Error(`The server refused the change: ${response.status}`);
}

/** A form with the fields `repeat`, `delay`, `lose` and, for the layer's switch, `layer`. */
export class Panel {
  constructor(form, changed) {
    this.fields = form.elements;
    form.onsubmit = (event) => event.preventDefault();
    form.onchange = () => {
      this.#enable();
      changed(this.conditions);
    };
    this.#enable();
  }

  get conditions() {
    const { layer, repeat, delay, lose } = this.fields;
    return {
      layer: layer?.checked ?? true,
      repeat: Number(repeat.value),
      delay_ms: delay.value,
      lose_answers: lose.checked,
    };
  }

  show({ layer, repeat, delay_ms: delay, lose_answers: lose }) {
    this.fields.layer.checked = layer;
    select(this.fields.repeat, String(repeat), `${repeat} times`);
    select(this.fields.delay, delay, delay.includes("..") ? `${delay.replace("..", "–")} ms later` : `${delay} ms apart`);
    this.fields.lose.checked = lose;
    this.#enable();
  }

  #enable() {
    this.fields.delay.disabled = this.fields.repeat.value === "0";
  }
}

// Flags of the server may set a value that the form does not offer.
function select(field, value, text) {
  if (![...field.options].some((option) => option.value === value)) field.add(new Option(text, value));
  field.value = value;
}
